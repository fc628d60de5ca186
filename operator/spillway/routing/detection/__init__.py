"""What in a request's text is personal or secret. Pure, and linear in the text: each pattern runs on RE2."""
