"""What the doctor must find in any case: a fixed selection of planted faults. The whole measurement is
`benchmarks/doctor.py`."""
import sys
from pathlib import Path
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]/'benchmarks'))
from trainings import PROGRAMS, baseline, build, learn  # noqa: E402
import doctor as judge  # noqa: E402

faults = judge.kinds([Path(__file__).with_name('faults.py')])

@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)

@pytest.mark.parametrize('name', ['mlp'])
def test_healthy_programs_learn(name):
    p = PROGRAMS[name]()
    assert learn(build(p), epochs=3)[-1] > baseline(p) + .2

@pytest.mark.parametrize('kind', ['loss_detached', 'optimizer_of_other_model', 'targets_cut_to_zero'])
def test_planted_faults_do_harm(kind):
    healthy, p = learn(build(PROGRAMS['mlp']()), epochs=3), PROGRAMS['mlp']()
    faults[kind].plant(p)
    assert judge.does_harm(healthy, learn(build(p), epochs=3))

SELECTION = [('no_zero_grad', 'mlp'), ('loss_detached', 'mlp'), ('optimizer_of_other_model', 'mlp'),
             ('targets_cut_to_zero', 'mlp'), ('raw_pixels', 'plain'), ('nan_in_images', 'mlp'),
             ('no_validation', 'binary'), ('masks_empty', 'unet')]

def test_doctor_names_the_selection(tmp_path):
    pytest.importorskip('cytokit.evaluation.doctor')
    rows = [judge.examined(kind, name, 0, faults, seconds=60) for kind, name in SELECTION]
    for row in rows: assert not row['crash'] and not row['changed'], row
    missed = {row['kind']: row['named'] for row in rows if judge.place(row) is None}
    late = {row['kind']: row['named'] for row in rows if (judge.place(row) or 99) > 3}
    assert len(missed) <= 1 and len(late) <= 1, (missed, late)

@pytest.mark.parametrize('name', ['mlp'])
def test_doctor_finds_nothing_in_a_healthy_program(name):
    pytest.importorskip('cytokit.evaluation.doctor')
    row = judge.examined('healthy', name, 0, faults, seconds=60)
    assert not row['named'] and not row['crash'] and not row['changed'], row
