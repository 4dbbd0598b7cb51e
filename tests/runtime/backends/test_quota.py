"""A container's quota of processor time, from files as Linux writes them."""

import os

import pytest

from seas_runtime.backends import workers
from seas_runtime.backends.quota import cpu_quota

VERSION_2 = "29 23 0:26 / {mount} rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
VERSION_1 = "32 31 0:29 {root} {mount} rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"


@pytest.fixture
def proc(tmp_path):
    """A process's view: proc(cgroup, mountinfo, {file: content}) -> its folder."""

    def make(cgroup, mountinfo, files, root="/"):
        (tmp_path / "proc").mkdir()
        (tmp_path / "proc" / "cgroup").write_text(cgroup)
        (tmp_path / "proc" / "mountinfo").write_text(mountinfo.format(mount=tmp_path / "fs", root=root))
        for name, content in files.items():
            (tmp_path / "fs" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "fs" / name).write_text(content)
        return tmp_path / "proc"

    return make


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"cpu.max": "200000 100000\n"}, 2.0),
        ({"cpu.max": "50000 100000\n"}, 0.5),
        ({"cpu.max": "max 100000\n"}, None),
        ({"pod/box/cpu.max": "300000 100000\n", "pod/cpu.max": "150000 100000\n"}, 1.5),
        ({"pod/box/cpu.max": "max 100000\n", "pod/cpu.max": "150000 100000\n", "cpu.max": "max 100000"}, 1.5),
        ({"cpu.max": "many\n"}, None),
        ({"cpu.max": "1 0\n"}, None),
        ({}, None),
    ],
)
def test_version_2(proc, files, quota):
    assert cpu_quota(proc("0::/pod/box\n", VERSION_2, files)) == quota


@pytest.mark.parametrize("root", ["/", "/docker/abc"])
def test_version_1_also_where_a_container_sees_its_group_as_the_root(proc, root):
    place = "docker/abc/" if root == "/" else ""
    files = {f"{place}cpu.cfs_quota_us": "250000\n", f"{place}cpu.cfs_period_us": "100000\n"}
    assert cpu_quota(proc("4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n0::/\n", VERSION_1, files, root)) == 2.5


def test_version_1_without_a_quota(proc):
    files = {"cpu.cfs_quota_us": "-1\n", "cpu.cfs_period_us": "100000\n"}
    assert cpu_quota(proc("3:cpu,cpuacct:/\n", VERSION_1, files)) is None


@pytest.mark.parametrize(("cgroup", "mountinfo"), [("", ""), ("nonsense\n", VERSION_2), ("0::/\n", "1 2 3\n")])
def test_files_that_say_nothing(proc, cgroup, mountinfo):
    assert cpu_quota(proc(cgroup, mountinfo, {"cpu.max": "100000 100000\n"})) is None


def test_no_such_files(tmp_path):
    assert cpu_quota(tmp_path) is None


@pytest.mark.parametrize(("quota", "cores"), [(None, 64), (2.0, 2), (1.2, 2), (0.1, 1), (100.0, 64)])
def test_workers_are_as_many_as_the_quota_pays_for(bundle, monkeypatch, quota, cores):
    monkeypatch.setattr(workers.sys, "platform", "linux")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(64)), raising=False)
    monkeypatch.setattr(workers, "cpu_quota", lambda: quota)
    assert workers.usable_cores() == cores
    assert workers.split_cores(bundle.manifest, 0).workers == cores
