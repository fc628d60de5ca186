"""`python -m e2e up|down|test|demo`: the cluster with Spillway on it, and what is told on it.

`python -m e2e obstacle` prints why there can be none on this machine, or nothing.
"""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from e2e import cluster, demo, docker, precondition, programs, release
from e2e.images import ollama_program
from e2e.images.build import build_all
from e2e.shell import CACHE, ROOT, CommandFailed, say
from e2e.stories import outside
from spillway.errors import SetupError

TO_PLAY_WITH = """
  export KUBECONFIG={kubeconfig} PATH={programs}:$PATH
  kubectl apply -f e2e/chat.yaml && kubectl wait --for=condition=Ready llmdep/chat --timeout=120s
  kubectl port-forward service/chat 8000:80 &
  curl -s --retry 5 --retry-connrefused localhost:8000/v1/chat/completions -H 'content-type: application/json' \\
    -d '{{"model": "chat", "messages": [{{"role": "user", "content": "Hello"}}]}}'

GPUs, the vLLM on them, the model hub and the cloud are simulated. make kind-down removes the cluster.
"""
USAGE = "usage: python -m e2e obstacle | up | down | demo | test [arguments of pytest]"


def main(arguments: list[str]) -> int:
    """Do what the first argument names; the exit code."""
    match arguments:
        case ["obstacle"]:
            sys.stdout.write(f"{told}\n" if (told := precondition.obstacle()) else "")
        case ["up"]:
            up()
            outside.open_all()
            where = {"kubeconfig": cluster.KUBECONFIG, "programs": programs.kubectl().parent}
            sys.stdout.write(TO_PLAY_WITH.format(**where))
        case ["down"]:
            down()
        case ["demo", *options]:
            up()
            return demo.run(options)
        case ["test", *options]:
            return _test(options)
        case _:
            sys.stderr.write(f"{USAGE}\n")
            return 2
    return 0


def up() -> None:
    """Bring up what is not there yet: Docker, the cluster, the images in it, Spillway."""
    docker.find()
    if told := precondition.obstacle():
        raise SetupError(f"no cluster can run here: {told}")
    CACHE.mkdir(parents=True, exist_ok=True)
    docker.start()
    programs.kind()  # which brings Go where there is none
    # One core compiles the largest package of Ollama for minutes: the rest is built beside it.
    with ThreadPoolExecutor(max_workers=1) as beside:
        ollama = beside.submit(ollama_program.build)
        if not cluster.exists():
            cluster.node()
        images = build_all(ollama.result)
    if not cluster.exists():
        cluster.create()
    cluster.load(*images)
    cluster.until_up()
    release.install()


def down() -> None:
    """Remove the cluster, and stop Docker if it was started for it."""
    docker.find()
    if docker.answers():
        cluster.delete()
    docker.stop()


def _test(options: list[str]) -> int:
    docker.find()
    found = cluster.KUBECONFIG.exists() and cluster.exists()
    try:
        up()
        say("the stories begin")
        pytest = [sys.executable, "-m", "pytest", "e2e/stories", "-v", "--durations=0", *options]
        return subprocess.run(pytest, cwd=ROOT, check=False).returncode
    finally:
        if not found and not os.environ.get("KEEP"):
            say("taking the cluster down; KEEP=1 leaves it")
            down()


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (SetupError, CommandFailed) as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(1)
