"""The images of the cluster's own parts, under the names that kubeadm looks for: one program each."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from e2e import docker
from e2e.offline.versions import KUBERNETES, LOCAL_PATH
from e2e.shell import CACHE, run

_PARTS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd", "coredns", "pause")
_IPTABLES = ("iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore")


def build(root: Path, programs: Mapping[str, Path]) -> dict[str, str]:
    """The name of each part's image, all of them in Docker now; Debian's programs come from the node's file system.

    Raises:
        CommandFailed: one could not be made.
    """
    listed = run(programs["kubeadm"], "config", "images", "list", "--kubernetes-version", KUBERNETES).split()
    names = {image.rpartition(":")[0].rpartition("/")[2]: image for image in listed}
    names |= {
        "local-path-provisioner": f"spillway.local/local-path-provisioner:{LOCAL_PATH}",
        "netpol": "spillway.local/netpol:1",  # as in node/default-cni.yaml
        "busybox": "spillway.local/busybox:1",
    }
    for part in (*_PARTS, "local-path-provisioner"):
        _image(names[part], root, [f"/usr/local/bin/{part}"], programs[part])
    nft = ["/usr/sbin/nft"]
    _image(names["netpol"], root, ["/usr/local/bin/netpol"], programs["netpol"], nft)
    # Matches and targets of iptables are libraries of their own, and need some that iptables itself does not: without
    # libm every sync of kube-proxy fails while the node says that it is ready.
    extensions = [f"/{path.relative_to(root)}" for path in sorted(root.glob("usr/lib/*/xtables/*.so"))]
    tools = [*nft, "/usr/sbin/xtables-nft-multi", "/usr/sbin/conntrack", *extensions]
    _image(names["kube-proxy"], root, ["/usr/local/bin/kube-proxy"], programs["kube-proxy"], tools)
    _image(names["busybox"], root, ["/bin/sh"], None, ["/bin/busybox"])
    return names


def _image(name: str, root: Path, entrypoint: Sequence[str], program: Path | None, tools: Sequence[str] = ()) -> None:
    """Make an image of one static program, and of Debian's `tools` with the libraries that they are linked to."""
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        here = Path(folder) / "root"
        for place in ("usr/local/bin", "usr/sbin", "bin", "etc/ssl/certs", "run", "tmp"):
            (here / place).mkdir(parents=True)
        here.chmod(0o755)
        (here / "tmp").chmod(0o1777)
        if program is not None:
            shutil.copy(program, here / "usr/local/bin")
            # kubeadm's manifests call etcd and the others by name alone, CoreDNS's Deployment by /coredns
            (here / program.name).symlink_to(f"usr/local/bin/{program.name}")
        for tool in tools:
            for file in (tool, *_libraries(root, tool)):
                (here / file[1:]).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(root / file[1:], here / file[1:])
        if "/usr/sbin/xtables-nft-multi" in tools:
            for link in _IPTABLES:
                (here / "usr/sbin" / link).symlink_to("xtables-nft-multi")
            for file in ("protocols", "services"):
                if (root / "etc" / file).exists():
                    shutil.copy(root / "etc" / file, here / "etc")
        if "/bin/busybox" in tools:
            for applet in run("chroot", root, "/bin/busybox", "--list").split():
                if applet != "busybox":
                    (here / "bin" / applet).symlink_to("busybox")
        archive = Path(folder) / "image.tar"
        run("tar", "-C", here, "--numeric-owner", "--owner=0", "--group=0", "-cf", archive, ".")
        started = "[" + ", ".join(f'"{word}"' for word in entrypoint) + "]"
        path = "ENV PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        docker.docker("import", "--change", path, "--change", f"ENTRYPOINT {started}", archive, name)


def _libraries(root: Path, program: str) -> list[str]:
    """The libraries that a program of `root` is linked to, as paths there; none of a static one."""
    # ldd says "not a dynamic executable" by its exit code
    told = run("chroot", root, "/bin/sh", "-c", 'ldd "$0" 2>/dev/null || true', program)
    return [word for word in told.split() if word.startswith("/")]
