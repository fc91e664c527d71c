"One file takes one path to the network: every route gives the same numbers to the bit."
import nibabel as nib, numpy as np, pandas as pd, pytest, tifffile
from PIL import Image
from cytokit.data.pairs import load_pair
from cytokit.data.preprocess import Preprocessing, load, load_unresized, normalise, take_plane
from cytokit.data.formats import read_image
from cytokit.segmentation.patches import load_pixels
from cytokit.segmentation.pipeline import Segmentation
from cytokit.segmentation.tiling import global_scale, to_input
from cytokit.data.windows import open_large
from cytokit.training.loaders import load_arrays

SIDE = 96
HOLES = {(3, 5): 0, (9, 70): 1, (40, 30): 0}  # NaN, +∞, −∞ of `float_nan`, and what they become
NORMS = {
    'percentile': Preprocessing(SIDE),
    'zscore': Preprocessing(SIDE, norm='zscore'),
    'window': Preprocessing(SIDE, norm='window', low=60, high=190),
    'dtype': Preprocessing(SIDE, norm='dtype'),
    'zscore_set': Preprocessing(SIDE, norm='zscore_set', low=101.3, high=33.7)}

def pixels(shape, top=255):
    return np.random.default_rng(7).integers(50, top, shape)

def grey16(folder):
    tifffile.imwrite(folder/'grey16.tif', pixels((SIDE, SIDE), 60_000).astype('u2'))
    return folder/'grey16.tif'

def colour(folder):
    Image.fromarray(pixels((SIDE, SIDE, 3)).astype('u1')).save(folder/'colour.png')
    return folder/'colour.png'

def float_nan(folder):
    a = pixels((SIDE, SIDE)).astype('f4') + np.float32(.25)
    a[3, 5], a[9, 70], a[40, 30] = np.nan, np.inf, -np.inf
    tifffile.imwrite(folder/'float.tif', a)
    return folder/'float.tif'

def volume(folder):
    a = pixels((SIDE, SIDE, 5)).astype('i2')
    nib.save(nib.Nifti1Image(a, np.diag([1, 1, 3, 1])), folder/'scan.nii.gz')
    return folder/'scan.nii.gz'

def mask_of(path, folder):
    "A mask of the same axes: one object."
    im = read_image(path)
    a = np.zeros(im.array.shape[:3 if im.axes[0] == 'Z' else 2], 'u1')
    a[..., 20:60, 20:60] = 1
    if im.axes[0] != 'Z':
        Image.fromarray(a).save(folder/'mask.png')
        return folder/'mask.png'
    nib.save(nib.Nifti1Image(a.T.astype('i2'), np.diag([1, 1, 3, 1])), folder/'mask.nii.gz')
    return folder/'mask.nii.gz'

def array_of(path, preprocessing):
    "What `train` and `predict` read: (H, W, C) of the tensor (1, C, H, W)."
    return load_arrays([path], preprocessing)[0].permute(1, 2, 0).contiguous().numpy()

def segmentation_input(path, preprocessing):
    "What `Segmentation.maps` hands to its network."
    seen = []
    def network(x):
        seen.append(x[0].copy())
        return np.zeros((len(x), 1, *x.shape[1:3]), 'f4')
    network.tiles = dict(tile=512, overlap=32)
    run = Segmentation.__new__(Segmentation)  # without the folder of a run
    run.preprocessing, run.predictor = preprocessing, network
    run.maps(path)
    return seen

def same(a, b): return a.dtype == b.dtype == np.float32 and a.shape == b.shape and a.tobytes() == b.tobytes()

@pytest.mark.parametrize('norm', NORMS)
@pytest.mark.parametrize('make', [grey16, colour, float_nan, volume])
def test_every_route_gives_the_same_numbers(tmp_path, make, norm, monkeypatch):
    monkeypatch.setenv('CYTOKIT_CACHE', str(tmp_path/'cache'))
    path, preprocessing = make(tmp_path), NORMS[norm]
    row = dict(image=str(path), target=str(mask_of(path, tmp_path)))
    wanted = load_unresized(path, preprocessing)
    routes = dict(
        load=load(path, preprocessing),                                  # 96 pixels already: resizing changes nothing
        image=load(read_image(path), preprocessing),
        arrays=array_of(path, preprocessing),
        cached=array_of(path, preprocessing),
        pair=load_pair(row, preprocessing)[0],
        pixels=load_pixels(pd.DataFrame([row]), preprocessing, 'binary').image(0),
        cached_pixels=load_pixels(pd.DataFrame([row]), preprocessing, 'binary').image(0))
    assert {k for k, x in routes.items() if not same(x, wanted)} == set()
    part = load_pixels(pd.DataFrame([row]), preprocessing, 'binary').image(0, np.s_[30:50, 7:90])
    assert same(part, wanted[30:50, 7:90])

@pytest.mark.parametrize('norm', NORMS)
def test_holes_enter_no_percentile_mean_or_deviation(tmp_path, norm):
    x = load_unresized(float_nan(tmp_path), NORMS[norm])[..., 0]
    assert {place: x[place] for place in HOLES} == HOLES
    a = read_image(tmp_path/'float.tif').array
    rest = np.isfinite(a)
    assert same(x[rest], normalise(a[rest], NORMS[norm]))

@pytest.mark.parametrize('norm', NORMS)
@pytest.mark.parametrize('make', [grey16, colour, float_nan, volume])
def test_tiles(tmp_path, make, norm):
    "A tile is a window of the whole image: `to_input` after `global_scale`."
    path, preprocessing = make(tmp_path), NORMS[norm]
    wanted = load_unresized(path, preprocessing)
    plane = take_plane(read_image(path), preprocessing.axis, preprocessing.index)[0]
    im = open_large(np.ascontiguousarray(plane)) if make is volume else open_large(path)
    own = global_scale(im, preprocessing)
    for part in (np.s_[10:SIDE, 11:80], np.s_[:10, :], np.s_[3:4, 5:6]):
        assert same(to_input(im[part], own), wanted[part])

@pytest.mark.parametrize('norm', NORMS)
@pytest.mark.parametrize('make', [grey16, colour, float_nan, volume])
def test_segmentation_reads_the_same(tmp_path, make, norm):
    path = make(tmp_path)
    [x] = segmentation_input(path, NORMS[norm])
    assert same(x, load_unresized(path, NORMS[norm]))

def test_what_is_kept_has_a_version(tmp_path, monkeypatch):
    "Pixels that an older reader made of the same file are not taken."
    from cytokit.training import loaders
    monkeypatch.setenv('CYTOKIT_CACHE', str(tmp_path))
    now = loaders.cache_entry(['facts'], [], '.npy')
    monkeypatch.setattr(loaders, '_VERSION', 0)
    assert loaders.cache_entry(['facts'], [], '.npy') != now
