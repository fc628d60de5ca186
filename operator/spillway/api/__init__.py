"""The kinds of `spillway.dev`, as data: frozen models with no logic, and the CRDs made from them."""
