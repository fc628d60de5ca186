"""The download of a model onto a claim, `spillway fetch`: resolve, download, verify, mark as complete, report.

How progress reaches status. The download's pod has no right to the API server, and the operator no way into the pod;
what both sides share is the kubelet, which reports of a container how it ended and in up to 4096 bytes why. So the
pod is a row of init containers, each of which downloads until a tenth more is there and ends with how far it is
(`--until-percent`); the last container does the rest, verifies, and ends with the facts of the model. Every step
resumes where the one before ended, so a restart at any of them costs nothing. The operator learns of each by its watch
on pods, without polling. The price is that the percentage moves in tenths.

Others let the operator scrape a metrics port of the pod (KubeVirt's containerized data importer:
https://github.com/kubevirt/containerized-data-importer/blob/main/doc/datavolumes.md): finer, but the operator must then
be let into every namespace's network and believe whatever answers there. Rights for the pod to write its own progress
would put a token of the API server beside files from the internet.
"""
