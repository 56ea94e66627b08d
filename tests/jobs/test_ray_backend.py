"""Calls through Ray, with a small module in its place; the real one is tested where it is installed."""

import dataclasses
import importlib.util
import socket
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from equipoise.errors import MissingPackageError, RunError, SettingError
from equipoise.jobs.backend import FAILED, INTERRUPTED, NO_SPACE, Call, execute_calls
from equipoise.jobs.ray_backend import connect_ray, stop_file


class RayError(Exception):
    pass


class RayTaskError(RayError):
    pass


@dataclasses.dataclass
class Reference:
    """A result, or the error that Ray raises for it; ready at the second look."""

    value: object = None
    error: Exception | None = None
    looks: int = 0


class FakeRay(ModuleType):
    """The functions of Ray that are used. `dead`: names of functions whose tasks Ray gives up."""

    def __init__(self) -> None:
        super().__init__("ray")
        self.__spec__ = ModuleSpec("ray", None)
        self.exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)
        self.options: list[dict[str, object]] = []
        self.init_options: dict[str, object] = {}
        self.resources = {"CPU": 4.0, "GPU": 2.0}
        self.hosts = ["node1", "node2"]
        self.refuses, self.dead, self.is_shut_down = False, set[str](), False

    def init(self, **options: object) -> None:
        self.init_options = options
        if self.refuses:
            raise ConnectionError("Could not find any\nrunning Ray instance")

    def shutdown(self) -> None:
        self.is_shut_down = True

    def cluster_resources(self) -> dict[str, float]:
        return self.resources

    def nodes(self) -> list[dict[str, object]]:
        return [{"Alive": host != "gone", "NodeID": host, "NodeManagerHostname": host} for host in self.hosts]

    def remote(self, **options: object):
        self.options.append(options)

        def decorate(function):
            def submit(*arguments: object) -> Reference:
                if function.__name__ in self.dead:
                    return Reference(error=RayError("first line\nModuleNotFoundError: No module named 'equipoise'"))
                return Reference(function(*arguments))

            return SimpleNamespace(remote=submit)

        return decorate

    def wait(self, references: list[Reference], num_returns: int = 1, timeout: float = 0):
        for one in references:
            one.looks += 1
        ready = [one for one in references if one.looks > 1]
        return ready, [one for one in references if one not in ready]

    def get(self, reference: Reference) -> object:
        if reference.error:
            raise reference.error
        return reference.value


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    module, strategies = FakeRay(), ModuleType("ray.util.scheduling_strategies")
    strategies.NodeAffinitySchedulingStrategy = lambda node, soft: (node, soft)
    monkeypatch.setitem(sys.modules, "ray", module)
    monkeypatch.setitem(sys.modules, "ray.util", ModuleType("ray.util"))
    monkeypatch.setitem(sys.modules, "ray.util.scheduling_strategies", strategies)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(socket, "create_connection", lambda address, timeout: socket.socket())
    monkeypatch.setattr("equipoise.jobs.ray_backend.STOP_SECONDS", 0.0)
    return module


@dataclasses.dataclass
class CallList:
    calls: list[Call]

    @property
    def is_empty(self) -> bool:
        return not self.calls

    def take(self) -> Call | None:
        return self.calls.pop(0) if self.calls else None


def write(path: Path, interrupted) -> bool:
    print("a line")
    path.write_text("result")
    return True


def stop(path: Path, interrupted) -> bool:
    stop_file(Call("stop", stop, (), path)).touch()
    return not interrupted()


def refuse(path: Path, interrupted) -> bool:
    raise SettingError("an expected error")


def fill(path: Path, interrupted) -> bool:
    import errno

    raise OSError(errno.ENOSPC, "No space left on device")


def crash(path: Path, interrupted) -> bool:
    raise ValueError("broken")


@pytest.mark.parametrize(
    ("function", "code", "output"),
    [
        (write, 0, "a line"),
        (stop, INTERRUPTED, ""),
        (refuse, FAILED, "an expected error"),
        (fill, NO_SPACE, "[Errno 28] No space left on device"),
        (crash, 1, "ValueError: broken"),
    ],
)
def test_calls_end_with_a_code_and_their_output(
    ray: FakeRay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function, code: int, output: str
) -> None:
    monkeypatch.chdir(tmp_path)
    call = Call("job", function, (tmp_path / "x.log",), tmp_path / "x.log")
    if function is write:
        call = dataclasses.replace(call, arguments=(tmp_path / "result",))
    (ended,) = execute_calls(connect_ray(None, None), CallList([call]))
    assert (ended.code, ended.call) == (code, call)
    assert call.output.read_text().strip().splitlines()[-1:] == ([output] if output else [])


def test_a_task_that_ray_gives_up_has_failed(ray: FakeRay, tmp_path: Path) -> None:
    ray.dead = {"_execute_remotely"}
    call = Call("job", write, (tmp_path / "result",), tmp_path / "x.log")
    (ended,) = execute_calls(connect_ray(None, None), CallList([call]))
    assert (ended.code, ended.cpu) == (1, 0.0)
    assert "Ray has given up this job after 3 retries: RayError: first line ModuleNotFound" in call.output.read_text()


def test_the_reason_of_a_task_that_could_not_begin_is_its_last_line(
    ray: FakeRay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []
    error = RayTaskError("traceback of several\nlines\nModuleNotFoundError: No module named 'mylab'")
    monkeypatch.setattr(ray, "get", lambda reference: (looks.append(reference), throw(error)))
    call = Call("job", write, (tmp_path / "result",), tmp_path / "x.log")
    (ended,) = execute_calls(connect_ray(None, None), CallList([call]))
    assert ended.code == 1
    assert call.output.read_text().splitlines()[-1] == "ModuleNotFoundError: No module named 'mylab'"
    assert len(looks) == 1


def throw(error: Exception) -> None:
    raise error


def test_resources_of_a_task(ray: FakeRay, tmp_path: Path) -> None:
    backend = connect_ray("10.0.0.1:6379", None, 0.25)
    assert ray.init_options["address"] == "10.0.0.1:6379"
    assert backend.slots == 8, "four on each of two GPUs"
    backend.start(Call("job", write, (tmp_path / "result",), tmp_path / "x.log"))
    assert ray.options == [{"num_cpus": 1, "num_gpus": 0.25, "max_retries": 3}]
    assert connect_ray(None, None).slots == 4
    assert ray.init_options["address"] == "local", "not a cluster that happens to run on this machine"
    assert connect_ray(None, 3).slots == 3
    backend.close()
    assert ray.is_shut_down


def test_every_living_node_is_called(ray: FakeRay) -> None:
    ray.hosts.append("gone")
    backend = connect_ray(None, None)
    assert backend.call_on_nodes(len, (1, 2)) == {"node1": 2, "node2": 2}
    assert [one["scheduling_strategy"] for one in ray.options] == [("node1", False), ("node2", False)]
    ray.dead = {"len"}
    with pytest.raises(RunError, match=r"the node node1 of the Ray cluster cannot run this package: ModuleNotFound"):
        backend.call_on_nodes(len, ())


@pytest.mark.parametrize(
    ("gpus", "message"), [(3.0, "--gpus-per-run 3, but the Ray cluster has 2 GPUs"), (1.5, "1.5: it must be a share")]
)
def test_gpus_that_cannot_be_had(ray: FakeRay, gpus: float, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        connect_ray(None, None, gpus)


def test_a_cluster_that_cannot_be_reached(ray: FakeRay) -> None:
    ray.refuses = True
    message = (
        r"^the Ray cluster at host:1 cannot be reached: Could not find any running Ray instance; start it with: ray"
    )
    with pytest.raises(RunError, match=message):
        connect_ray("host:1", None)
    with pytest.raises(RunError, match=r"^Ray on this machine cannot be reached: Could not find any running Ray"):
        connect_ray(None, None)


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_where_nobody_listens_is_reported_at_once(
    ray: FakeRay, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    """Ray itself tries for a quarter of an hour."""
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "ray", ray)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(RunError, match=rf"{scheme}127\.0\.0\.1:{port} cannot be reached: .*refused; start it with"):
        connect_ray(f"{scheme}127.0.0.1:{port}", None)
    assert ray.init_options == {}


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="Ray is installed")
def test_ray_is_optional() -> None:
    with pytest.raises(MissingPackageError, match=r"pip install 'equipoise\[ray\]'"):
        connect_ray(None, None)


def test_a_node_without_the_shared_folder(ray: FakeRay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from equipoise.comparison import remote
    from equipoise.comparison.folder import ComparisonFolder, create_or_open
    from equipoise.comparison.plan import Arm, ComparisonPlan, PlugSpec, Task

    task = Task(data=PlugSpec("ring"), reported=PlugSpec("modes"))
    plan = ComparisonPlan(arms={"fixed": Arm()}, tasks={"ring": task}, seeds=(0,))
    folder = ComparisonFolder(tmp_path / "out")
    create_or_open(folder, plan, "")
    backend = connect_ray(None, None)
    assert remote.check_nodes(backend, folder) == []
    assert len(list(folder.machines.iterdir())) == 1
    machine = remote.report_node(tmp_path / "missing").machine
    monkeypatch.setattr(remote, "report_node", lambda path: remote.NodeReport(None, machine))
    with pytest.raises(RunError, match=r"the node node1 does not see .*out; give --out a folder on a drive that all"):
        remote.check_nodes(backend, folder)
    assert not (folder.path / "locks" / "shared").exists()
