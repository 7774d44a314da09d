"""The cost model: by hand in small cases, and against its simulation."""

import dataclasses

import pytest

from corolla.bench.cost import Machine, all_reduce_us, cores_to_keep_up, predicted_rate, simulated_rate, step_us

# 100 us of a core and 400 us of a GPU an image: four cores a GPU are twice too many for 10,000 images/s.
MACHINE = Machine(data_us=100, step_us=400, disk_bytes_per_s=0)


def test_one_gpu_is_limited_by_its_step_or_by_the_cores() -> None:
    assert predicted_rate(MACHINE, 1, 4).images_per_s == pytest.approx(2500)
    assert predicted_rate(MACHINE, 1, 4).limit == "step"
    assert predicted_rate(MACHINE, 8, 1).images_per_s == pytest.approx(10_000)
    assert predicted_rate(MACHINE, 8, 1).limit == "cores"
    assert cores_to_keep_up(MACHINE, 8) == pytest.approx(2.0)


def test_the_disk_limits_what_is_read() -> None:
    slow = dataclasses.replace(MACHINE, disk_bytes_per_s=65e6, jpeg_bytes=65e3)
    assert predicted_rate(slow, 4, 16).images_per_s == pytest.approx(1000)
    assert predicted_rate(slow, 4, 16).limit == "disk"


def test_the_all_reduce_moves_twice_the_gradients_and_hides_behind_the_backward_pass() -> None:
    """100 MB at 10 GB/s: 10 ms each way; with two GPUs half of both."""
    machine = dataclasses.replace(MACHINE, gradient_bytes=100e6, link_bytes_per_s=10e9, link_latency_us=0)
    assert all_reduce_us(machine, 1) == 0
    assert all_reduce_us(machine, 2) == pytest.approx(10_000)
    assert all_reduce_us(machine, 64) == pytest.approx(20_000 * 63 / 64)
    compute = 64 * 400
    assert step_us(machine, 2) == compute  # 10 ms are less than two thirds of 25.6 ms
    slow = dataclasses.replace(machine, link_bytes_per_s=1e9)
    assert step_us(slow, 2) == pytest.approx(compute + 100_000 - 0.67 * compute)
    assert predicted_rate(slow, 2, 64).limit == "all-reduce"


def test_where_the_cpu_trains_data_and_step_share_its_cores() -> None:
    machine = dataclasses.replace(MACHINE, step_us=4900, data_us=200, cores_train=True)
    assert predicted_rate(machine, 1, 2).images_per_s == pytest.approx(1e6 / 5000)


@pytest.mark.parametrize(("gpus", "cores"), [(1, 2), (4, 8), (8, 1), (16, 2), (4, 4)])
def test_the_simulation_agrees_where_nothing_varies(gpus: int, cores: int) -> None:
    simulated = simulated_rate(MACHINE, gpus, cores, spread=0)
    assert simulated == pytest.approx(predicted_rate(MACHINE, gpus, cores).images_per_s, rel=0.02)


def test_what_varies_costs_the_more_the_more_gpus_wait_for_each_other() -> None:
    alone, many = (simulated_rate(MACHINE, gpus, 64, spread=0.1) / gpus for gpus in (1, 32))
    assert many < 0.9 * alone
    assert alone == pytest.approx(2500, rel=0.03)
