"Overlap beside plain loops that share no code with it, on synthetic and real labels; and bad input."
import subprocess, sys
from pathlib import Path
import numpy as np, pandas as pd, pytest
from cytokit.core import InputError
from cytokit.metrics.segmentation import THRESHOLDS, ap_curve, dice, iou, match_objects, overlap, soft_dice
from cytokit.metrics.segmentation import score_difference, score_interval, score_objects, score_pixels

NUCLEI = Path(__file__).resolve().parents[3]/'shared/data/nuclei'

def loops(truth, predicted):
    "Every score by sets of pixels and loops over all pairs, straight from the definitions."
    pixels = lambda a: {k: {tuple(x) for x in np.argwhere(a == k)} for k in np.unique(a).tolist() if k}
    T, P = pixels(truth), pixels(predicted)
    share = {(t, p): len(T[t] & P[p])/len(T[t] | P[p]) for t in T for p in P}
    n, m, both = len(T), len(P), float(not T and not P)
    ratio = lambda a, b: a/b if b else both
    s = dict(n_truth=n, n_predicted=m, count_error=m - n, count_error_abs=abs(m - n),
             count_error_rel=abs(m - n)/max(n, 1))
    for x in (.1, .3) + THRESHOLDS:
        tp, k = most_pairs({q for q in share if share[q] >= x}), f'{100*x:g}'
        s |= {f'tp_{k}': tp, f'ap_{k}': ratio(tp, n + m - tp), f'precision_{k}': ratio(tp, m),
              f'recall_{k}': ratio(tp, n), f'f1_{k}': ratio(2*tp, n + m)}
    s['mean_ap'] = sum(s[f'ap_{100*x:g}'] for x in (.1, .3) + THRESHOLDS)/(2 + len(THRESHOLDS))
    hit = [v for v in share.values() if v > .5]
    s |= dict(sq=ratio(sum(hit), len(hit)), rq=ratio(len(hit), (n + m)/2), pq=ratio(sum(hit), (n + m)/2))
    common, union, used = 0, 0, set()
    for t in T:
        best = max(P, key=lambda p: share[t, p], default=None)
        if best is None or not share[t, best]: union += len(T[t]); continue
        common += len(T[t] & P[best]); union += len(T[t] | P[best]); used.add(best)
    return s | dict(aji=ratio(common, union + sum(len(P[p]) for p in P if p not in used)))

def most_pairs(allowed):
    "Size of the largest one-to-one matching (Kuhn's augmenting paths)."
    partner = {}
    def place(t, seen):
        for a, p in allowed:
            if a == t and p not in seen:
                seen.add(p)
                if p not in partner or place(partner[p], seen): partner[p] = t; return True
        return False
    return sum(place(t, set()) for t in {t for t, _ in allowed})

def blocks(seed):
    "Rectangles as labels, and the same moved, resized, lost, melted and made up; numbers with gaps."
    r = np.random.default_rng(seed)
    paint = lambda boxes, names: sum_up([(int(y), int(x), int(h), int(w), int(k))
                                         for (y, x, h, w), k in zip(boxes, names)])
    def sum_up(boxes):
        a = np.zeros((32, 32), np.int32)
        for y, x, h, w, k in boxes: a[max(y, 0):max(y, 0) + h, max(x, 0):max(x, 0) + w] = k
        return a
    n = r.integers(0, 12)
    b = np.c_[r.integers(0, 28, (n, 2)), r.integers(2, 9, (n, 2))]
    c = np.r_[(b + r.integers(-1, 2, b.shape)*(r.random((n, 1)) < .6))[r.random(n) > .15],
              np.c_[r.integers(0, 28, (2, 2)), r.integers(2, 6, (2, 2))][:r.integers(0, 3)]]
    c[:, 2:] = c[:, 2:].clip(1)
    return paint(b, r.permutation(40)[:n] + 1), paint(c, r.integers(1, 30, len(c)))  # two with one number: melted

def agree(pairs):
    table = score_objects(pairs, thresholds=(.1, .3) + THRESHOLDS)
    worst = 0.
    for (_, row), pair in zip(table.iterrows(), pairs):
        for k, v in loops(*pair).items(): worst = max(worst, abs(row[k] - v))
    return worst

def test_objects_equal_plain_loops():
    pairs = [blocks(i) for i in range(150)]
    assert any(not t.any() for t, _ in pairs) and any(not p.any() for _, p in pairs)
    assert any((overlap(*q).iou == .5).any() for q in pairs)  # ties at the threshold are among them
    assert agree(pairs) < 1e-12

def test_matching_below_half_is_the_best_of_all():
    for seed in range(60):
        t, p = blocks(1000 + seed)
        o, k = overlap(t, p), match_objects(t, p, .05).query('outcome == "matched"')
        assert k.truth.is_unique and k.predicted.is_unique
        value = {(a, b): 1 + v/100 for a, b, v in zip(o.truth[o.i].tolist(), o.predicted[o.j].tolist(), o.iou.tolist())
                 if v >= .05}
        def best(left, used=frozenset()):  # most pairs first, then the highest sum of IoU
            if not left: return 0
            return max([best(left[1:], used)] + [v + best(left[1:], used | {b}) for (a, b), v in value.items()
                                                 if a == left[0] and b not in used])
        if len(o.truth) <= 8: assert (1 + k.iou/100).sum() == pytest.approx(best(o.truth.tolist()), abs=1e-9)

def test_pixels_equal_plain_loops():
    r = np.random.default_rng(0)
    for k in range(40):
        t, p = (r.integers(0, 4, (9, 7))*(r.random() < .9) for _ in range(2))
        q = r.random((9, 7))
        for c in (1, 2, 3):
            both, a, b = sum(x == c == y for x, y in zip(t.flat, p.flat)), (t == c).sum(), (p == c).sum()
            assert dice(t, p, 3)[c - 1] == pytest.approx(2*both/(a + b) if a + b else 1)
            assert iou(t, p, 3)[c - 1] == pytest.approx(both/(a + b - both) if a + b else 1)
        assert soft_dice(t > 1, q) == pytest.approx(2*sum(y for x, y in zip(t.flat, q.flat)
                                                          if x > 1)/((t > 1).sum() + q.sum()))

def test_set_scores_equal_plain_sums():
    pairs = [blocks(i) for i in range(30)]
    s, one = score_objects(pairs), [loops(*q) for q in pairs]
    tp, n, m = (sum(x[k] for x in one) for k in ('tp_75', 'n_truth', 'n_predicted'))
    assert score_interval(s, 'ap_75', over='objects').mean == pytest.approx(tp/(n + m - tp))
    assert score_interval(s, 'ap_75', over='images').mean == pytest.approx(np.mean([x['ap_75'] for x in one]))
    for over in ('images', 'objects'):
        c = ap_curve(s, over)
        assert c.ap.mean() == pytest.approx(score_interval(s, 'mean_ap', over=over).mean)
        assert c.threshold.tolist() == list(THRESHOLDS) and (c.ap.diff()[1:] <= 0).all()
    x = score_pixels([(t > 0, p > 0) for t, p in pairs])
    both = sum(((t > 0) & (p > 0)).sum() for t, p in pairs)
    either = sum(((t > 0) | (p > 0)).sum() for t, p in pairs)
    assert score_interval(x, 'iou', over='pixels').mean == pytest.approx(both/either)

def test_bounds_and_symmetry():
    for seed in range(60):
        t, p = blocks(seed)
        a, b = score_objects([(t, p)]).iloc[0], score_objects([(p, t)]).iloc[0]
        assert a.pq == pytest.approx(b.pq) and a.ap_50 == b.ap_50 and a.precision_50 == b.recall_50
        assert a.count_error == -b.count_error
        assert a.drop(['image', 'count_error']).between(0, 1024).all() and max(a.mean_ap, a.aji, a.pq, a.sq, a.rq) <= 1
        # other numbers, types, memory order
        again = score_objects([(np.where(t > 0, 5000 - t, 0).astype('u2'), p.astype('i8').T.copy().T)]).iloc[0]
        assert again[['ap_50', 'mean_ap', 'pq']].tolist() == pytest.approx(a[['ap_50', 'mean_ap', 'pq']].tolist())

def test_paired_difference_by_group():
    r = np.random.default_rng(1)
    tables = []
    for keep in (.9, .7):
        pairs = [(t, np.where(r.random(41)[t] < keep, t, 0)) for t in (blocks(i)[0] for i in range(40))]
        table = score_objects(pairs, images=[f'{i:02}.png' for i in range(40)])
        tables.append(table.assign(group=[f'patient {i//4}' for i in range(40)]))
    a, b = tables
    d = score_difference(a, b, 'recall_50', over='images')
    means = (a.recall_50 - b.recall_50).groupby(a.group).mean()
    assert d.n_groups == 10 and d.mean == pytest.approx((a.recall_50 - b.recall_50).mean())
    # equal groups: Student's t of their means
    assert (d.high - d.low)/2 == pytest.approx(2.262*means.std()/10**.5, rel=.06)
    assert d.low > 0
    with pytest.raises(InputError, match='the same column group'):
        score_difference(a, b.drop(columns='group'), 'pq', over='images')

@pytest.mark.parametrize('name', ['shape', 'float', 'negative', 'nan', 'text', 'ragged', 'empty'])
def test_bad_input_is_one_line(name):
    ok = np.array([[0, 1], [2, 2]])
    bad = dict(shape=ok[:1], float=ok/2, negative=ok - 1, nan=ok*np.nan, text=ok.astype(str),
               ragged=np.array([[1], [1, 2]], dtype=object), empty=ok[:0])[name]
    for f in (lambda: overlap(ok, bad), lambda: match_objects(bad, ok), lambda: dice(ok, bad, 2),
              lambda: score_objects([(ok, ok), (ok, bad)]), lambda: score_pixels([(ok > 0, bad)])):
        try: f()
        except InputError as e: assert '\n' not in str(e) and ('truth' in str(e) or 'predicted' in str(e))
        else: assert name == 'float'  # numbers from 0 to 1 are probabilities to score_pixels

def test_light_import():
    heavy = '("torch", "skimage", "sklearn", "matplotlib")'
    code = f'import sys, cytokit.metrics.segmentation; print([m for m in {heavy} if m in sys.modules])'
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True,
                          check=True).stdout.strip() == '[]'

@pytest.mark.skipif(not NUCLEI.is_dir(), reason='shared/data/nuclei is not here')
def test_real_labels_equal_plain_loops():
    from PIL import Image
    few = 'split == "train" and changed and height*width < 100_000 and n_objects < 60'
    t = pd.read_csv(NUCLEI/'images.csv').query(few).head(8)
    read = lambda folder, i: np.asarray(Image.open(NUCLEI/folder/f'{i}.png')).astype(np.int32)
    pairs = [(read('labels', i), read('labels_original', i)) for i in t.id]
    pairs += [(a, np.roll(np.where(b % 5 == 4, b - 1, b), 2, 1)) for a, b in pairs]  # some melted, all moved
    assert len(pairs) == 16 and agree(pairs) < 1e-12

@pytest.mark.parametrize('n', [2, 3, 4, 12])
@pytest.mark.parametrize('score,low,high',
                         [('count_error_abs', 0, np.inf), ('count_error_rel', 0, np.inf), ('recall_50', 0, 1),
                          ('pq', 0, 1), ('count_error', -np.inf, np.inf)])
def test_an_interval_stays_within_the_range_of_its_score(n, score, low, high):
    "An absolute error of 8.25 had an interval from -10.9 to 27.4."
    r = np.random.default_rng(n)
    for _ in range(30):
        truth, hit = r.integers(1, 30, n), r.random(n)**.2
        found = r.binomial(truth, hit)
        t = pd.DataFrame(dict(image=range(n), n_truth=truth, n_predicted=truth + r.geometric(.1, n)*(r.random(n) < .5),
                              tp_50=found, pq_tp=found, pq_iou=found*hit, aji_common=0, aji_union=1))
        i = score_interval(t, score, over='images', n_boot=200)
        assert low <= i.low <= i.mean <= i.high <= high
        # an end that was clipped onto the mean would hide the doubt
        assert i.low < i.mean < i.high or i.low == i.mean == i.high
        other = score_difference(t, t.assign(tp_50=r.binomial(truth, hit), n_predicted=truth), score, over='images',
                                 n_boot=200)
        assert other.low <= other.mean <= other.high
        if high == 1: assert max(-1, low - high) <= other.low
