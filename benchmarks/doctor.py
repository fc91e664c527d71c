"""Known faults in healthy trainings, and how many of them `cytokit.doctor` names.

    .venv/bin/python benchmarks/doctor.py                  # every kind in two programs each, and the healthy runs
    .venv/bin/python benchmarks/doctor.py --harm           # first show that each fault does harm
    .venv/bin/python benchmarks/doctor.py --peer lib/      # the same programs for torch-audit, installed in lib/

The programs and faults are those of `tests/evaluation`; what was measured is kept in `--out` and not measured again."""
import argparse, contextlib, hashlib, importlib, io, os, random, sys, tempfile, time, warnings
os.environ.setdefault('OMP_NUM_THREADS', '1')
from pathlib import Path
import numpy as np
import torch
from cytokit.core import read_json, write_json

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent/'tests'/'evaluation'))
from trainings import PROGRAMS, build, learn  # noqa: E402

# True cause to the checks that a neutral expert would accept as an answer to it
ANSWERS = dict(
    rate_too_low='learning_rate optimizer_settings', schedule_each_batch='schedule',
    head_unknown_to_optimizer='optimizer_parameters', optimizer_of_other_model='optimizer_parameters',
    no_zero_grad='gradients_cleared', zero_grad_before_step='step_order', loss_detached='gradient_flows',
    features_detached='gradient_flows frozen_layers', sigmoid_twice='activation_once',
    sigmoid_on_number='last_activation', tanh_on_number='last_activation',
    exploding_depth='gradient_size initialisation', bottleneck='width', random_body_frozen='frozen_layers',
    batch_too_small_for_norm='norm_layers batch_size', weights_constant='initialisation',
    weights_too_large='initialisation initial_loss', nll_of_scores='loss_input',
    positive_weight_huge='class_balance', class_weights_inverted='class_balance',
    targets_cut_to_zero='targets_vary mask_values', targets_huge='targets_scale', targets_outliers='targets_scale',
    raw_pixels='inputs_scale', divided_twice='inputs_scale', nan_in_images='inputs_finite',
    images_black='inputs_vary', augmentation_too_strong='augmentation_mild parts_alike',
    reshaped_not_permuted='inputs_layout parts_alike', most_labels_wrong='targets_follow',
    one_class_only='targets_vary class_balance', imbalance='class_balance', no_validation='validation_there',
    sorted_not_shuffled='shuffled_order', shortcut='no_shortcut', dropout_too_strong='dropout_mild',
    log_of_zero='loss_finite', masks_empty='targets_vary mask_values',
    background_crops='class_balance targets_vary mask_values', masks_transposed='masks_fit',
    foreground_rare='class_balance', masks_inverted_in_part='masks_fit mask_values',
    # The half that was held out while the thresholds were chosen
    rate_too_high='learning_rate optimizer_settings', rate_zero='learning_rate optimizer_settings',
    momentum_too_high='optimizer_settings', weight_decay_huge='optimizer_settings',
    clipped_to_nothing='gradient_clipped', no_step='optimizer_called', step_after_loop='optimizer_called step_order',
    never_in_training_mode='train_mode', images_and_targets_apart='targets_kept',
    validation_in_training_mode='valid_mode', softmax_before_cross_entropy='activation_once',
    relu_at_the_end='last_activation', softmax_over_one='last_activation softmax_axis loss_input',
    too_few_outputs='classes_counted', vanishing_sigmoids='gradient_size', no_activations='nonlinear',
    weights_zero='initialisation', dead_units='units_alive initialisation',
    last_bias_low='initialisation initial_loss', cross_entropy_for_several='loss_fits_targets',
    cross_entropy_of_one='loss_fits_targets loss_input classes_counted', broadcast_targets='shapes_match',
    wrong_sign='loss_sign loss_fits_targets', classes_from_one='classes_counted', targets_missing='targets_finite',
    most_images_constant='inputs_vary', channels_swapped='parts_alike', validation_normalised_otherwise='parts_alike',
    same_image_each_time='inputs_vary', sixteen_bit='inputs_scale', shrunk_away='inputs_detail',
    targets_shuffled='targets_follow masks_fit', other_class_order='parts_alike targets_follow',
    validation_copied='parts_separate',
    validation_tiny='validation_there', validation_one_class='validation_there class_balance parts_alike',
    learned_by_heart='enough_data overfitting', too_few_epochs='steps_enough', all_in_half='precision',
    masks_0_255='mask_values',
    masks_of_others='masks_fit', masks_interpolated='mask_values masks_fit', only_image_flipped='masks_fit')

# %% Faults
def kinds(files):
    "All faults of some files of Python, by name; their programs and answers are noted."
    found = {}
    for file in files:
        sys.path.insert(0, str(Path(file).resolve().parent))
        module = importlib.import_module(Path(file).stem)
        found |= module.FAULTS
        PROGRAMS.update(getattr(module, 'PROGRAMS', {}))
        ANSWERS.update({k: f.answers for k, f in module.FAULTS.items() if hasattr(f, 'answers')})
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
    out, err = contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO())
    with warnings.catch_warnings(), out, err:
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
    if t.program.shows_loop: extra['train'] = t.train
    return doctor(t.model, t.loss, t.optimizer, t.train_loader, t.valid_loader, **extra)

def failed(result):
    "The findings that say that something is wrong, in their order."
    return [(f.check, f.evidence) for f in result.findings if f.result == 'fail']

def examined(kind, name, seed, faults, seconds, before=0):
    "One program before the doctor: what was named, in which order, how long it took, what was changed."
    importlib.import_module('cytokit.evaluation.doctor')  # imports draw random numbers; they are not the doctor's
    with tempfile.TemporaryDirectory() as d, hushed():
        t = spoiled(kind, name, seed, Path(d), faults)
        if before: learn(t, before)
        was, begun, used = state(t), time.perf_counter(), time.process_time()
        try: named, crash = failed(ask_doctor(t, seconds)), ''
        except Exception as e: named, crash = [], f'{type(e).__name__}: {e}'[:200]
        took, cpu, now = time.perf_counter() - begun, time.process_time() - used, state(t)
    return dict(kind=kind, program=name, seed=seed, epochs_before=before, named=[check for check, _ in named],
                evidence=[text for _, text in named], crash=crash, seconds=round(took, 1),
                cpu_seconds=round(cpu, 1),
                changed=[k for k in was if was[k] != now[k]])

# %% Scores
def place(row):
    "At which place of the list the true fault stands, from 1; None: not there."
    answers = ANSWERS.get(row['kind'], '').split()
    return next((i for i, check in enumerate(row['named'], 1) if check in answers), None)

def summary(rows, families):
    "Recall by kind and family, share among the first three, false alarms, seconds, changes."
    sick, healthy = [r for r in rows if r['kind'] != 'healthy'], [r for r in rows if r['kind'] == 'healthy']
    places = {(r['kind'], r['program'], r['seed']): place(r) for r in sick}
    def recall(some): return sum(v is not None for v in some)/max(1, len(some))
    by_kind = {k: [v for (kind, *_), v in places.items() if kind == k] for k in families}
    names = dict.fromkeys(families.values())
    by_family = {f: [v for k, vs in by_kind.items() if families[k] == f for v in vs] for f in names}
    found = [v for v in places.values() if v is not None]
    times = [r['cpu_seconds'] for r in rows]
    return dict(programs=len(sick), kinds=len([k for k in by_kind if by_kind[k]]), recall=recall(list(places.values())),
                recall_by_kind={k: recall(v) for k, v in by_kind.items() if v},
                recall_by_family={k: recall(v) for k, v in by_family.items() if v},
                first=sum(v == 1 for v in found)/max(1, len(found)),
                first_three=sum(v <= 3 for v in found)/max(1, len(found)),
                first_three_of_all=sum(v <= 3 for v in found)/max(1, len(sick)),
                named_a_program=float(np.mean([len(r['named']) for r in sick])) if sick else 0,
                healthy_runs=len(healthy), false_alarms=sum(len(r['named']) for r in healthy),
                healthy_with_alarm=sum(bool(r['named']) for r in healthy),
                crashes=sum(bool(r['crash']) for r in rows), changed=sum(bool(r['changed']) for r in rows),
                cpu_seconds_median=float(np.median(times)) if times else 0, cpu_seconds_most=max(times, default=0))

# %% A peer
# What torch-audit 0.3 looks for, and the causes that it would answer; its rules TA2 and TA4 are about speed and style
PEER_ANSWERS = dict(
    TA100='nan_in_images targets_missing all_in_half log_of_zero exploding_depth weights_too_large rate_too_high',
    TA102='exploding_depth weights_too_large rate_too_high targets_huge targets_outliers',
    TA103='dead_units images_black weights_zero', TA105='dead_units weights_zero',
    TA104='loss_detached features_detached zero_grad_before_step', TA301='raw_pixels sixteen_bit divided_twice',
    TA302='images_black most_images_constant divided_twice', TA303='reshaped_not_permuted',
    TA304='batch_too_small_for_norm', TA305='nan_in_images', TA500='', TA501='')

def ask_peer(t):
    "The rules of torch-audit that a pass of the user's own loop sets off."
    from torch_audit import autopatch
    auditor = autopatch(t.model, optimizer=t.optimizer, every_n_steps=1, reporters=[], fail_level='ERROR')
    try: t.train(t.model, t.train_loader, t.loss, t.optimizer)
    except Exception: pass  # the program itself may raise; what was found before counts
    found = dict.fromkeys(f.rule_id for f in auditor.finish(report=False).findings)
    auditor.unpatch()
    return [rule for rule in found if rule in PEER_ANSWERS]

def peer_row(kind, name, seed, faults):
    "A row as `examined` gives it, of the peer."
    with tempfile.TemporaryDirectory() as d, hushed():
        t, begun = spoiled(kind, name, seed, Path(d), faults), time.perf_counter()
        rules = ask_peer(t)
    return dict(kind=kind, program=name, rules=rules, hit=any(kind in PEER_ANSWERS[r].split() for r in rules),
                seconds=time.perf_counter() - begun)

def peer_summary(rows):
    "Recall of the peer, and its alarms on healthy programs."
    sick, healthy = [r for r in rows if r['kind'] != 'healthy'], [r for r in rows if r['kind'] == 'healthy']
    return dict(programs=len(sick), recall=sum(r['hit'] for r in sick)/max(1, len(sick)), healthy_runs=len(healthy),
                false_alarms=sum(len(r['rules']) for r in healthy),
                healthy_with_alarm=sum(bool(r['rules']) for r in healthy),
                found=sorted({r['kind'] for r in sick if r['hit']}))

# %% Running
def pairs(faults, programs, seeds, only, begin=0):
    "Kind, program, seed: each fault in `programs` programs, then the healthy ones."
    names = [k for k in faults if not only or k in only]
    for i in range(begin, begin + programs):
        for k in names:
            if i < len(faults[k].on): yield k, faults[k].on[i], 0
    if only and 'healthy' not in only: return
    for seed in range(seeds):
        for name in PROGRAMS: yield 'healthy', name, seed

def kept(path):
    "The rows of an earlier run."
    return read_json(path) if path.exists() else []

def measured(path, wanted, measure, minutes):
    "The rows in a file, and those still missing, each kept as soon as it is there."
    rows, begun = kept(path), time.perf_counter()
    done = {(r['kind'], r['program'], r.get('seed', 0)) for r in rows}
    for key in wanted:
        if key in done: continue
        if time.perf_counter() - begun > 60*minutes: break
        rows.append(measure(*key))
        print(*key, {k: v for k, v in rows[-1].items() if k not in ('kind', 'program', 'seed', 'evidence')}, flush=True)
        write_json(path, rows)
    return rows

def harm_row(kind, name, seed, faults):
    "Scores by epoch of a program, six epochs at most."
    return dict(kind=kind, program=name, seed=seed, scores=harm(kind, name, seed, faults, 6))

def harm_summary(rows, faults):
    "For each fault that should cost points: in which programs it does, and in which it does not."
    healthy = {r['program']: r['scores'] for r in rows if r['kind'] == 'healthy'}
    table = [(r['kind'], r['program'], does_harm(healthy[r['program']], r['scores'])) for r in rows
             if r['kind'] in faults and faults[r['kind']].harm == 'score' and r['program'] in healthy]
    return dict(programs=len(table), harmed=sum(h for *_, h in table), harmless=[t[:2] for t in table if not t[2]])

def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('only', nargs='*', help='kinds; none: all')
    files = [str(HERE.parent/'tests'/'evaluation'/name) for name in ('faults.py', 'held_out.py', 'unseen.py')]
    p.add_argument('--faults', nargs='+', default=files)
    p.add_argument('--programs', type=int, default=2, help='programs a kind')
    p.add_argument('--begin', type=int, default=0, help='begin with this program of each kind')
    p.add_argument('--healthy', type=int, default=2, help='seeds of the healthy programs')
    p.add_argument('--seconds', type=float, default=120, help='budget of one examination')
    p.add_argument('--minutes', type=float, default=1e9, help='stop after so many; go on another time')
    p.add_argument('--out', type=Path, default=Path('runs')/'doctor', help='folder of what was measured')
    p.add_argument('--harm', action='store_true', help='show that each fault does harm')
    p.add_argument('--peer', help='folder with torch-audit')
    p.add_argument('--result', type=Path, help='file of the summary')
    return p.parse_args()

def main():
    a = arguments()
    torch.set_num_threads(1)
    a.out.mkdir(parents=True, exist_ok=True)
    faults = kinds(a.faults)
    wanted = list(pairs(faults, a.programs, a.healthy, a.only, a.begin))
    if a.peer: sys.path.append(a.peer)
    if a.harm: name, measure, summarise = 'harm', harm_row, lambda rows: harm_summary(rows, faults)
    elif a.peer:
        name, measure, summarise = 'peer', peer_row, peer_summary
        wanted = [w for w in wanted if w[1] not in ('fastai', 'run')]
    else:
        name, summarise = 'doctor', lambda rows: summary(rows, {k: f.family for k, f in faults.items()})
        def measure(kind, program, seed, faults): return examined(kind, program, seed, faults, a.seconds, 2*(seed % 2))
    rows = measured(a.out/f'{name}.json', wanted, lambda *key: measure(*key, faults), a.minutes)
    result = summarise(rows)
    for k, v in result.items(): print(k, v)
    if a.result: write_json(a.result, dict(result, rows=rows))

if __name__ == '__main__': main()
