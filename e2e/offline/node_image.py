"""The node's image: a small Debian, kind's own files, the programs, and the cluster's images in containerd's store.

What kind's images/base/Dockerfile and `kind build node-image` do, with the files that come in kind's Go module.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from e2e import docker, programs
from e2e.offline import component_images, debian, node_programs
from e2e.offline.versions import KIND, KUBERNETES, NODE_PACKAGES, NODE_SUITE
from e2e.shell import CACHE, CommandFailed, attempt, run, say

_HERE = Path(__file__).parent
_SERVICES = ("kubelet.service", "containerd.service", "undo-mount-hacks.service")
# What Debian would start and a container must not, as in kind's Dockerfile.
_UNWANTED = (
    *("lib/systemd/system/multi-user.target.wants/*", "lib/systemd/system/local-fs.target.wants/*"),
    *("lib/systemd/system/sockets.target.wants/*udev*", "lib/systemd/system/sockets.target.wants/*initctl*"),
    *("lib/systemd/system/basic.target.wants/*", "etc/systemd/system/*.wants/*"),
    "lib/systemd/system/sysinit.target.wants/systemd-tmpfiles-setup.service",
)


def build() -> str:
    """The name of the image, built where Docker does not hold it yet.

    Raises:
        SetupError, CommandFailed: it could not be built.
    """
    built = node_programs.build()
    name = f"spillway.local/node:{KUBERNETES}-{_digest(built)}"
    if docker.has_image(name):
        return name
    say("making the node image")
    archive = CACHE / f"node-{hashlib.sha256(repr((NODE_SUITE, NODE_PACKAGES)).encode()).hexdigest()[:12]}.tar"
    debian.bootstrap(NODE_SUITE, NODE_PACKAGES, archive)
    with _folder() as work:
        root = work / "root"
        root.mkdir()
        run("tar", "-C", root, "--numeric-owner", "-xpf", archive)
        images = component_images.build(root, built)
        _kind_files(root, images)
        _services(root)
        _programs(root, built)
        _preload(root, built, images, work)
        _import(root, work / "node.tar", name)
    return name


def _kind_files(root: Path, images: Mapping[str, str]) -> None:
    module = run(
        programs.go(), "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/kind", cwd=programs.MODULES / "kind"
    ).strip()
    files = Path(module) / "images" / "base" / "files"
    for part in ("etc", "kind", "usr"):
        run("cp", "-r", "--no-preserve=mode,ownership", files / part, root)
    for script in (*(root / "usr/local/bin").iterdir(), *(root / "kind/bin").iterdir()):
        script.chmod(0o755)
    config = root / "etc/containerd/config.toml"
    text = re.sub(r'sandbox_image = ".*"', f'sandbox_image = "{images["pause"]}"', config.read_text())
    # A machine may lack CAP_SYS_RESOURCE: there nobody may lower oom_score_adj, and runc fails when it is asked to.
    config.write_text(text.replace("restrict_oom_score_adj = false", "restrict_oom_score_adj = true"))
    for folder in ("etc/kubernetes/manifests", "opt/cni/bin", "etc/cni/net.d", "kind/manifests"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "kind/version").write_text(KUBERNETES)
    shutil.copy(_HERE / "node" / "10-ptp.conflist", root / "etc/cni/net.d")
    shutil.copy(_HERE / "node" / "default-cni.yaml", root / "kind/manifests")
    storage = (Path(module) / "pkg/build/nodeimage/const_storage.go").read_text()
    (root / "kind/manifests/default-storage.yaml").write_text(_storage_manifest(storage, images))


def _storage_manifest(source: str, images: Mapping[str, str]) -> str:
    """The manifest of kind's storage, which is a constant in its source, with our images in it."""
    found = re.search(r"const defaultStorageManifest = `(.*?)\n`\n", source, re.DOTALL)
    if found is None:
        raise CommandFailed(f"kind {KIND} keeps the manifest of its storage in another way")
    text = found[1].replace("` + storageProvisionerImage + `", images["local-path-provisioner"])
    return text.replace("` + storageHelperImage + `", images["busybox"]) + "\n"


def _services(root: Path) -> None:
    for pattern in _UNWANTED:
        for path in root.glob(pattern):
            path.unlink()
    with (root / "etc/systemd/journald.conf").open("a") as journald:
        journald.write("ReadKMsg=no\n")
    init = root / "sbin/init"
    init.unlink(missing_ok=True)
    init.symlink_to("/usr/lib/systemd/systemd")
    for service in _SERVICES:
        run("chroot", root, "systemctl", "enable", service)
    # It would register formats with the kernel, and so with the machine.
    run("chroot", root, "systemctl", "mask", "systemd-binfmt.service")


def _programs(root: Path, built: Mapping[str, Path]) -> None:
    places = {
        "usr/bin": ("kubeadm", "kubelet", "kubectl"),
        "usr/local/bin": ("containerd", "containerd-shim-runc-v2", "ctr", "crictl"),
        "opt/cni/bin": ("ptp", "loopback", "host-local", "portmap"),
    }
    for folder, names in places.items():
        for name in names:
            shutil.copy(built[name], root / folder / name)
    spec = json.loads(run(built["ctr"], "oci", "spec"))
    spec.setdefault("hooks", {})["createContainer"] = [{"path": "/kind/bin/mount-product-files.sh"}]
    spec["process"].pop("rlimits", None)
    (root / "etc/containerd/cri-base.json").write_text(json.dumps(spec))


def _preload(root: Path, built: Mapping[str, Path], images: Mapping[str, str], work: Path) -> None:
    """Put the cluster's images into the store of the node's containerd, by a containerd that runs for that alone."""
    store, state, socket = root / "var/lib/containerd", work / "state", work / "containerd.sock"
    store.mkdir(parents=True, exist_ok=True)
    config = work / "containerd.toml"
    config.write_text(
        f'version = 2\nroot = "{store}"\nstate = "{state}"\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
        f'[grpc]\naddress = "{socket}"\n'
    )
    saved = work / "images.tar"
    docker.docker("save", "-o", saved, *images.values())
    ctr: list[str | Path] = [built["ctr"], "--address", socket, "--namespace", "k8s.io"]
    with (work / "containerd.log").open("wb") as log:
        process = subprocess.Popen([built["containerd"], "--config", config], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 30
        while attempt(*ctr, "version").returncode != 0:
            if time.monotonic() > deadline:
                raise CommandFailed((work / "containerd.log").read_text(errors="replace")[-2000:])
            time.sleep(0.2)
        kept = ["--label=io.cri-containerd.pinned=pinned", "--all-platforms", "--no-unpack", "--digests"]
        run(*ctr, "images", "import", *kept, saved)
    finally:
        process.terminate()
        process.wait()
    saved.unlink()


def _import(root: Path, archive: Path, name: str) -> None:
    run("tar", "-C", root, "--numeric-owner", "-cf", archive, ".")
    changes = (
        "ENV container=docker",
        "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "STOPSIGNAL SIGRTMIN+3",  # systemd takes it for an order to halt; SIGTERM makes it start anew
        'ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]',
    )
    docker.docker("import", *(word for change in changes for word in ("--change", change)), archive, name)


@contextmanager
def _folder() -> Iterator[Path]:
    # Below the cache: device files of a root file system need no more than what the cache's file system allows.
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="node-") as folder:
        yield Path(folder)


def _digest(built: Mapping[str, Path]) -> str:
    """Of what the image is made of: programs by the folders that name them, Debian's packages, our own files."""
    digest = hashlib.sha256(repr((KIND, NODE_SUITE, NODE_PACKAGES)).encode())
    digest.update(repr(sorted(str(path) for path in built.values())).encode())
    for file in (*sorted((_HERE / "node").iterdir()), Path(__file__), Path(component_images.__file__)):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]
