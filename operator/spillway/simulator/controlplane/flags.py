"""The command lines of the control plane's programs; pure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from spillway.simulator.controlplane.certificates import Pair

SERVICE_RANGE = "10.96.0.0/16"

# Controllers without work in a cluster that has no cloud, no kube-proxy, no CSI and no kubelet certificates.
# The two endpoint controllers would fail for each Service: an EndpointSlice may not hold a loopback address, and the
# simulated node's pods have no other.
_CONTROLLERS_OFF = (
    "certificatesigningrequest-approving-controller",
    "certificatesigningrequest-cleaner-controller",
    "certificatesigningrequest-signing-controller",
    "cloud-node-lifecycle-controller",
    "device-taint-eviction-controller",
    "endpoints-controller",
    "endpointslice-controller",
    "endpointslice-mirroring-controller",
    "ephemeral-volume-controller",
    "kube-apiserver-serving-clustertrustbundle-publisher-controller",
    "legacy-serviceaccount-token-cleaner-controller",
    "node-ipam-controller",
    "node-route-controller",
    "persistentvolume-attach-detach-controller",
    "persistentvolume-expander-controller",
    "podcertificaterequest-cleaner-controller",
    "podgroup-protection-controller",
    "replicationcontroller-controller",
    "resourceclaim-controller",
    "resourcepoolstatusrequest-controller",
    "service-cidr-controller",
    "service-lb-controller",
    "storage-version-migrator-controller",
    "storageversion-garbage-collector-controller",
    "ttl-controller",
    "validatingadmissionpolicy-status-controller",
    "volumeattributesclass-protection-controller",
)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything of one cluster lies."""

    port: int
    ca: Path
    server: Pair
    service_account: Pair
    kubelet_client: Pair
    manager_kubeconfig: Path
    scheduler_kubeconfig: Path


# etcd listens on sockets in the directory in which it is started, which is ours alone: no port to race for, and no
# other user of the machine reaches it. etcd insists on host:port, so this is the socket's name; as a relative path it
# keeps clear of the 108 bytes that a socket's path may have (unix(7)).
_ETCD_CLIENT = "unix://etcd-client:0"
_ETCD_PEER = "unix://etcd-peer:0"


def etcd() -> list[str]:
    """One member, and no wait for the disk: nobody needs this cluster after a power cut."""
    return [
        "etcd",
        "--name=spillway",
        "--data-dir=etcd",
        f"--listen-client-urls={_ETCD_CLIENT}",
        f"--advertise-client-urls={_ETCD_CLIENT}",
        f"--listen-peer-urls={_ETCD_PEER}",
        f"--initial-advertise-peer-urls={_ETCD_PEER}",
        f"--initial-cluster=spillway={_ETCD_PEER}",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def apiserver(layout: Layout) -> list[str]:
    """RBAC as in production; TokenRequest works; the port is one that we hold (see `ports`)."""
    return [
        "kube-apiserver",
        f"--etcd-servers={_ETCD_CLIENT}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        f"--secure-port={layout.port}",
        "--permit-port-sharing=true",
        f"--tls-cert-file={layout.server.cert}",
        f"--tls-private-key-file={layout.server.key}",
        f"--client-ca-file={layout.ca}",
        f"--kubelet-client-certificate={layout.kubelet_client.cert}",
        f"--kubelet-client-key={layout.kubelet_client.key}",
        "--kubelet-preferred-address-types=InternalIP",
        "--authorization-mode=Node,RBAC",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={layout.service_account.cert}",
        f"--service-account-signing-key-file={layout.service_account.key}",
        f"--service-cluster-ip-range={SERVICE_RANGE}",
        # A loopback address is refused in the Endpoints of default/kubernetes.
        "--endpoint-reconciler-type=none",
        "--enable-priority-and-fairness=false",
        "--profiling=false",
    ]


def controller_manager(layout: Layout) -> list[str]:
    """The controllers that a workload needs, each under its own service account, as kubeadm sets it up."""
    return [
        "kube-controller-manager",
        f"--kubeconfig={layout.manager_kubeconfig}",
        f"--controllers=*,{','.join('-' + name for name in _CONTROLLERS_OFF)}",
        "--use-service-account-credentials=true",
        f"--service-account-private-key-file={layout.service_account.key}",
        f"--root-ca-file={layout.ca}",
        "--enable-hostpath-provisioner=true",
        "--leader-elect=false",
        "--secure-port=0",
        "--profiling=false",
        # Its default of 20 requests a second holds back a rollout of many pods for no reason on one machine.
        "--kube-api-qps=200",
        "--kube-api-burst=400",
    ]


def scheduler(layout: Layout) -> list[str]:
    """The stock scheduler with its stock policy."""
    return [
        "kube-scheduler",
        f"--kubeconfig={layout.scheduler_kubeconfig}",
        "--leader-elect=false",
        "--secure-port=0",
        "--profiling=false",
        "--kube-api-qps=200",
        "--kube-api-burst=400",
    ]
