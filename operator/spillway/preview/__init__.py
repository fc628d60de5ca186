"""What would come of a file, without a cluster: its plan and its manifests, printed."""
