"""`spillway demo`: the main job on one machine, for real but for the GPUs, the models and the cloud's bill."""
