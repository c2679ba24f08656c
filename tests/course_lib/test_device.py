"""course_lib.device: the device that is there, the size that was asked for, the seed that reaches every generator."""

import random
import subprocess
import sys

import numpy as np
import pytest
import torch

from course_lib.device import best_device, course_size, describe_device, seed_everything


@pytest.fixture
def machine(monkeypatch):
    """Pretend that this machine has so many NVIDIA GPUs, and an Apple GPU or none."""

    def pretend(gpus: int = 0, apple: bool = False):
        monkeypatch.delenv("COURSE_DEVICE", raising=False)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: apple)

    return pretend


def test_cuda_is_taken_before_mps_and_mps_before_the_processor(machine):
    machine(gpus=1, apple=True)
    assert best_device() == torch.device("cuda")
    machine(apple=True)
    assert best_device() == torch.device("mps")
    machine()
    assert best_device() == torch.device("cpu")


@pytest.mark.parametrize("wanted", ["cpu", "cuda", "cuda:0", "cuda:1", "mps"])
def test_course_device_decides_when_the_machine_has_it(wanted, machine, monkeypatch):
    machine(gpus=2, apple=True)
    monkeypatch.setenv("COURSE_DEVICE", wanted)
    assert best_device() == torch.device(wanted)


def test_an_empty_course_device_decides_nothing(machine, monkeypatch):
    machine(gpus=1)
    monkeypatch.setenv("COURSE_DEVICE", "")
    assert best_device().type == "cuda"


@pytest.mark.parametrize(
    ("gpus", "wanted", "message"), [(0, "cuda", "sees 0 CUDA devices"), (1, "cuda:1", "sees 1 CUDA devices"), (0, "mps", "no Apple GPU")]
)
def test_a_device_that_is_not_there_is_an_error_and_no_silent_fall_back(gpus, wanted, message, machine, monkeypatch):
    machine(gpus=gpus)
    monkeypatch.setenv("COURSE_DEVICE", wanted)
    with pytest.raises(RuntimeError, match=f"COURSE_DEVICE is '{wanted}', but .*{message}"):
        best_device()


@pytest.mark.parametrize("wanted", ["gpu", "meta", "CPU", "cpu:0", "cuda:", "cuda:x", "cuda:-1", "mps:0", "cuda:1:2", "cuda:²"])
def test_a_device_that_does_not_exist_is_refused_with_those_that_do(wanted, machine, monkeypatch):
    machine(gpus=1, apple=True)
    monkeypatch.setenv("COURSE_DEVICE", wanted)
    with pytest.raises(ValueError, match=f"'{wanted}'; wanted cpu, cuda, cuda:N or mps"):
        best_device()


@pytest.mark.parametrize(("setting", "size"), [(None, "small"), ("", "small"), ("small", "small"), ("full", "full")])
def test_the_course_is_small_unless_told_otherwise(setting, size, monkeypatch):
    monkeypatch.delenv("COURSE_SIZE", raising=False)
    if setting is not None:
        monkeypatch.setenv("COURSE_SIZE", setting)
    assert course_size() == size


@pytest.mark.parametrize("setting", ["Full", "large", "1", " small"])
def test_another_size_is_refused_with_those_there_are(setting, monkeypatch):
    monkeypatch.setenv("COURSE_SIZE", setting)
    with pytest.raises(ValueError, match=f"COURSE_SIZE is '{setting}'; wanted small or full"):
        course_size()


GENERATORS = {
    "python": lambda: [random.random() for _ in range(4)],
    "numpy": lambda: np.random.random(4).tolist(),  # noqa: NPY002 - the global generator is what is seeded
    "torch": lambda: torch.rand(4).tolist(),
}


@pytest.mark.parametrize("name", GENERATORS)
def test_a_seed_repeats_every_generator_and_another_seed_does_not(name):
    draw = GENERATORS[name]
    seed_everything(7)
    first, onward = draw(), draw()
    seed_everything(7)
    again = draw()
    seed_everything(8)
    other = draw()
    assert first == again
    assert first not in (onward, other)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_numpy_cannot_take_is_refused_before_anything_is_seeded(seed):
    seed_everything(7)
    first = random.random()
    seed_everything(7)
    with pytest.raises(ValueError, match=rf"between 0 and 2\*\*32 - 1, got {seed}"):
        seed_everything(seed)
    assert random.random() == first


def test_the_largest_seed_is_taken():
    seed_everything(2**32 - 1)
    assert random.random() == random.Random(2**32 - 1).random()


def test_the_device_is_described_in_one_line(machine, monkeypatch):
    machine()
    line = describe_device()
    assert line.startswith("cpu (")
    assert f"{torch.get_num_threads()} threads" in line
    assert line.endswith(f"torch {torch.__version__}")
    assert "\n" not in line
    machine(apple=True)
    assert describe_device().startswith("mps (Apple GPU")


def test_importing_the_module_does_not_import_torch():
    program = "import course_lib.device, sys; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "False\n"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_the_device_is_cuda_by_name_and_its_generator_is_seeded(monkeypatch):
    monkeypatch.delenv("COURSE_DEVICE", raising=False)
    assert torch.cuda.get_device_name() in describe_device()
    seed_everything(7)
    first = torch.rand(4, device=best_device())
    seed_everything(7)
    assert torch.equal(first, torch.rand(4, device=best_device()))
