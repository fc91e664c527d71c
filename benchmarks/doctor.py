"""Known faults in healthy trainings, and how many of them `cytokit.doctor` names.

    .venv/bin/python benchmarks/doctor.py                  # every kind in two programs each, and the healthy runs
    .venv/bin/python benchmarks/doctor.py --harm           # first show that each fault does harm
    .venv/bin/python benchmarks/doctor.py --peer lib/      # the same programs for torch-audit, installed in lib/

The programs and faults are those of `tests/evaluation`; what was measured is kept in `--out` and not measured again."""
import argparse, contextlib, hashlib, importlib, inspect, io, os, random, sys, tempfile, time, warnings
os.environ.setdefault('OMP_NUM_THREADS', '1')
from pathlib import Path
import numpy as np
import torch
from cytokit.core import read_json, write_json

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent/'tests'/'evaluation'))
from trainings import PROGRAMS, baseline, build, learn  # noqa: E402

# True cause to the checks that a neutral expert would accept as an answer to it
ANSWERS = dict(
    rate_too_low='learning_rate optimizer_settings', schedule_each_batch='schedule',
    head_unknown_to_optimizer='optimizer_parameters', optimizer_of_other_model='optimizer_parameters',
    no_zero_grad='gradients_cleared', zero_grad_before_step='step_order', loss_detached='gradient_flows',
    features_detached='gradient_flows frozen_layers', sigmoid_twice='activation_once',
    sigmoid_on_number='last_activation', tanh_on_number='last_activation',
    exploding_depth='gradient_size initialisation', bottleneck='width', random_body_frozen='frozen_layers',
    batch_too_small_for_norm='norm_layers', weights_constant='initialisation',
    weights_too_large='initialisation initial_loss', nll_of_scores='loss_input',
    positive_weight_huge='class_balance', class_weights_inverted='class_balance',
    targets_cut_to_zero='targets_vary mask_values', targets_huge='targets_scale', targets_outliers='targets_scale',
    raw_pixels='inputs_scale', divided_twice='inputs_scale', nan_in_images='inputs_finite',
    images_black='inputs_vary', augmentation_too_strong='parts_alike targets_follow',
    reshaped_not_permuted='inputs_layout parts_alike', most_labels_wrong='targets_follow',
    one_class_only='targets_vary class_balance', imbalance='class_balance', no_validation='validation_there',
    sorted_not_shuffled='shuffled_order', shortcut='shortcut', dropout_too_strong='dropout_mild',
    log_of_zero='loss_finite', masks_empty='targets_vary mask_values',
    background_crops='class_balance targets_vary mask_values', masks_transposed='masks_fit',
    foreground_rare='class_balance', masks_inverted_in_part='masks_fit mask_values')

# %% Faults
def kinds(files):
    "All faults of some files of Python, by name."
    found = {}
    for file in files:
        sys.path.insert(0, str(Path(file).resolve().parent))
        found |= importlib.import_module(Path(file).stem).FAULTS
    return found

def spoiled(kind, name, seed, folder, faults):
    "The objects of a program with a fault; of a healthy one for the kind 'healthy'."
    p = PROGRAMS[name](seed)
    if kind != 'healthy':
        torch.manual_seed(seed)
        faults[kind].plant(p)
    return build(p, folder)

def harm(kind, name, seed, faults, epochs):
    "Score on the test images after each epoch."
    with tempfile.TemporaryDirectory() as d, hushed(): return learn(spoiled(kind, name, seed, Path(d), faults), epochs)

def does_harm(healthy, scores):
    "Worse at the end, or on the way there: by 0.05 in the mean over the epochs, or at the end."
    n = min(len(healthy), len(scores))
    return scores[-1] < healthy[-1] - .05 or float(np.mean(scores)) < float(np.mean(healthy[:n])) - .05

@contextlib.contextmanager
def hushed():
    "Without warnings and printing."
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter('ignore')
        yield

# %% What must stay as it is
def bytes_of(o):
    "Something of tensors, numbers, lists and dicts, as bytes."
    if isinstance(o, torch.Tensor): return o.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
    if isinstance(o, dict): return b'{' + b','.join(str(k).encode() + b':' + bytes_of(v) for k, v in o.items()) + b'}'
    if isinstance(o, (list, tuple)): return b'[' + b','.join(map(bytes_of, o)) + b']'
    if isinstance(o, np.ndarray): return o.tobytes()
    return repr(o).encode()

def state(t):
    "Fingerprints of all that a doctor must leave alone."
    parts = dict(python=random.getstate(), numpy=np.random.get_state(legacy=True), torch=torch.get_rng_state())
    if t.folder: parts['files'] = {str(f): f.read_bytes() for f in sorted(t.folder.rglob('*')) if f.is_file()}
    else:
        parts |= dict(weights=t.model.state_dict(), modes=[m.training for m in t.model.modules()],
                      hooks=[len(m._forward_hooks) + len(m._forward_pre_hooks) for m in t.model.modules()],
                      frozen=[q.requires_grad for q in t.model.parameters()],
                      gradients=[q.grad for q in t.model.parameters()])
        opt = t.learner.opt if t.learner else t.optimizer
        parts['optimizer'] = opt.state_dict() if opt else None
    return {k: hashlib.sha256(bytes_of(v)).hexdigest() for k, v in parts.items()}

# %% The patient
def ask_doctor(t, seconds):
    "What failed, most likely first: names of checks and their evidence."
    from cytokit.evaluation.doctor import doctor
    if t.folder: return doctor(t.folder)
    if t.learner: return doctor(t.learner)
    extra = dict(validate=t.validate, epochs=t.program.epochs, seconds=seconds)
    known = inspect.signature(doctor).parameters
    extra = {k: v for k, v in extra.items() if k in known}
    return doctor(t.model, t.loss, t.optimizer, t.train_loader, t.valid_loader, train=t.train, **extra)

def failed(result):
    "The findings that say that something is wrong, in their order."
    return [(f.check, f.evidence) for f in result.findings if f.result == 'fail']

def examined(kind, name, seed, faults, seconds, before=0):
    "One program before the doctor: what was named, in which order, how long it took, what was changed."
    with tempfile.TemporaryDirectory() as d, hushed():
        t = spoiled(kind, name, seed, Path(d), faults)
        if before: learn(t, before)
        was, begun = state(t), time.perf_counter()
        try: named, crash = failed(ask_doctor(t, seconds)), ''
        except Exception as e: named, crash = [], f'{type(e).__name__}: {e}'[:200]
        took, now = time.perf_counter() - begun, state(t)
    return dict(kind=kind, program=name, seed=seed, epochs_before=before, named=named, crash=crash,
                seconds=round(took, 1), changed=[k for k in was if was[k] != now[k]])

# %% Scores
def place(row):
    "At which place of the list the true fault stands, from 1; None: not there."
    answers = ANSWERS.get(row['kind'], '').split()
    return next((i for i, (check, _) in enumerate(row['named'], 1) if check in answers), None)

def summary(rows, families):
    "Recall by kind and family, share among the first three, false alarms, seconds, changes."
    sick, healthy = [r for r in rows if r['kind'] != 'healthy'], [r for r in rows if r['kind'] == 'healthy']
    places = {(r['kind'], r['program'], r['seed']): place(r) for r in sick}
    def recall(some): return sum(v is not None for v in some)/max(1, len(some))
    by_kind = {k: [v for (kind, *_), v in places.items() if kind == k] for k in families}
    by_family = {f: [v for k, vs in by_kind.items() if families[k] == f for v in vs] for f in dict.fromkeys(families.values())}
    found = [v for v in places.values() if v is not None]
    times = [r['seconds'] for r in rows]
    return dict(programs=len(sick), kinds=len([k for k in by_kind if by_kind[k]]), recall=recall(list(places.values())),
                recall_by_kind={k: recall(v) for k, v in by_kind.items() if v},
                recall_by_family={k: recall(v) for k, v in by_family.items() if v},
                first=sum(v == 1 for v in found)/max(1, len(found)), first_three=sum(v <= 3 for v in found)/max(1, len(found)),
                first_three_of_all=sum(v <= 3 for v in found)/max(1, len(sick)),
                named_a_program=float(np.mean([len(r['named']) for r in sick])) if sick else 0,
                healthy_runs=len(healthy), false_alarms=sum(len(r['named']) for r in healthy),
                healthy_with_alarm=sum(bool(r['named']) for r in healthy),
                crashes=sum(bool(r['crash']) for r in rows), changed=sum(bool(r['changed']) for r in rows),
                seconds_median=float(np.median(times)) if times else 0, seconds_most=max(times, default=0))

# %% A peer
# torch-audit's rules that answer a cause
PEER_ANSWERS = dict(
    rate_too_low='learning_rate optimizer_settings', schedule_each_batch='schedule',
    head_unknown_to_optimizer='optimizer_parameters', optimizer_of_other_model='optimizer_parameters',
    no_zero_grad='gradients_cleared', zero_grad_before_step='step_order', loss_detached='gradient_flows',
    features_detached='gradient_flows frozen_layers', sigmoid_twice='activation_once',
    sigmoid_on_number='last_activation', tanh_on_number='last_activation',
    exploding_depth='gradient_size initialisation', bottleneck='width', random_body_frozen='frozen_layers',
    batch_too_small_for_norm='norm_layers', weights_constant='initialisation',
    weights_too_large='initialisation initial_loss', nll_of_scores='loss_input',
    positive_weight_huge='class_balance', class_weights_inverted='class_balance',
    targets_cut_to_zero='targets_vary mask_values', targets_huge='targets_scale', targets_outliers='targets_scale',
    raw_pixels='inputs_scale', divided_twice='inputs_scale', nan_in_images='inputs_finite',
    images_black='inputs_vary', augmentation_too_strong='parts_alike targets_follow',
    reshaped_not_permuted='inputs_layout parts_alike', most_labels_wrong='targets_follow',
    one_class_only='targets_vary class_balance', imbalance='class_balance', no_validation='validation_there',
    sorted_not_shuffled='shuffled_order', shortcut='shortcut', dropout_too_strong='dropout_mild',
    log_of_zero='loss_finite', masks_empty='targets_vary mask_values',
    background_crops='class_balance targets_vary mask_values', masks_transposed='masks_fit',
    foreground_rare='class_balance', masks_inverted_in_part='masks_fit mask_values')

def ask_peer(t):
    "The rules of torch-audit that a pass of the user's own loop sets off; notes about speed are left out."
    from torch_audit import autopatch
    auditor = autopatch(t.model, optimizer=t.optimizer, every_n_steps=1, reporters=[], fail_level='ERROR')
    with contextlib.suppress(RuntimeError, IndexError, ValueError): t.train(t.model, t.train_loader, t.loss, t.optimizer)
    findings = auditor.finish(report=False).findings
    auditor.unpatch()
    return list(dict.fromkeys(f.rule_id for f in findings))

# %% Running
def pairs(faults, programs, seeds, only):
    "Kind, program, seed: each fault in `programs` programs, then the healthy ones."
    names = [k for k in faults if not only or k in only]
    for i in range(programs):
        for k in names:
            if i < len(faults[k].on): yield k, faults[k].on[i], 0
    if only and 'healthy' not in only: return
    for seed in range(seeds):
        for name in PROGRAMS: yield 'healthy', name, seed

def kept(path):
    "The rows of an earlier run."
    return read_json(path) if path.exists() else []

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('only', nargs='*', help='kinds; none: all')
    p.add_argument('--faults', nargs='+', default=[str(HERE.parent/'tests'/'evaluation'/'faults.py')])
    p.add_argument('--programs', type=int, default=2, help='programs a kind')
    p.add_argument('--healthy', type=int, default=2, help='seeds of the healthy programs')
    p.add_argument('--seconds', type=float, default=60, help='budget of one examination')
    p.add_argument('--minutes', type=float, default=1e9, help='stop after so many; go on another time')
    p.add_argument('--out', type=Path, default=Path('runs')/'doctor.json')
    p.add_argument('--harm', action='store_true')
    p.add_argument('--peer', help='folder with torch-audit')
    p.add_argument('--result', type=Path, help='where the summary goes')
    a = p.parse_args()
    torch.set_num_threads(1)
    a.out.parent.mkdir(parents=True, exist_ok=True)
    faults, rows, begun = kinds(a.faults), kept(a.out), time.perf_counter()
    done = {(r['kind'], r['program'], r['seed']) for r in rows}
    for kind, name, seed in pairs(faults, a.programs, a.healthy, a.only):
        if (kind, name, seed) in done or time.perf_counter() - begun > 60*a.minutes: continue
        row = examined(kind, name, seed, faults, a.seconds, before=2*(seed % 2))
        rows.append(row)
        print(kind, name, seed, f'place {place(row)}', row['seconds'], 's', [c for c, _ in row['named']], row['crash'],
              row['changed'], flush=True)
        write_json(a.out, rows)
    result = summary(rows, {k: f.family for k, f in faults.items()})
    for k, v in result.items(): print(k, v)
    if a.result: write_json(a.result, dict(result, rows=rows))

if __name__ == '__main__': main()
