"Odd, broken and hostile image files, all made here: each gives the right pixels or one InputError that names it."
import gzip, io, os, re, signal, struct, subprocess, sys, tempfile, warnings, zlib
from pathlib import Path
import nibabel as nib, numpy as np, pydicom, pytest, tifffile
from PIL import Image as P, ImageOps
from pydicom.data import get_testdata_file
from pydicom.uid import DeflatedExplicitVRLittleEndian
from cytokit.arrays import upright
from cytokit.core import InputError, rng, shown
from cytokit.data.formats import Image, read_image
from cytokit.data.preprocess import Preprocessing, find_images, fit_preprocessing, load, resize, take_plane
from cytokit.data.slices import VolumePreprocessing, cut_volume, write_slices
from cytokit.data.windows import open_large

SHARED = Path(__file__).resolve().parents[3]/'shared'/'data'
R = rng(0, 'odd')
G8, G16 = R.integers(0, 256, (20, 30)).astype('u1'), R.integers(0, 4096, (20, 30)).astype('u2')
RGB, RGBA = R.integers(0, 256, (20, 30, 3)).astype('u1'), R.integers(0, 256, (20, 30, 4)).astype('u1')
VOL = R.integers(0, 3000, (5, 6, 8)).astype('i2')  # Z, Y, X

# --- makers
def pil(a, fmt='PNG', mode=None, **k):
    b = io.BytesIO(); im = a if isinstance(a, P.Image) else P.fromarray(a)
    (im.convert(mode) if mode else im).save(b, fmt, **k)
    return b.getvalue()

def tif(a, **k):
    b = io.BytesIO(); tifffile.imwrite(b, a, **k)
    return b.getvalue()

def tif_pages(*arrays, **k):
    b = io.BytesIO()
    with tifffile.TiffWriter(b) as t:
        for a in arrays: t.write(a, **k)
    return b.getvalue()

def chunk(kind, data): return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))

def png_raw(w, h, depth, colour, rows, more=b'', corrupt_dataset=False):
    packed = zlib.compress(rows)
    if corrupt_dataset: packed = packed[:-4] + b'\0\0\0\0'
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', w, h, depth, colour, 0, 0, 0)) + more + chunk(b'IDAT', packed) + chunk(b'IEND', b'')

def png16(a, **k):
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[1 if a.ndim == 2 else a.shape[2]]
    rows = b''.join(b'\0' + r.astype('>u2').tobytes() for r in a)
    return png_raw(a.shape[1], a.shape[0], 16, colour, rows, **k)

def nii(a=VOL, affine=np.diag([.5, .7, 3, 1.]), cls=nib.Nifti1Image, slope=None, **k):  # `a` in Z, Y, X
    im = cls(a.T, affine, **k)
    if slope: im.header.set_slope_inter(*slope)
    return im.to_bytes()

def nii_oriented(codes):
    "VOL stored in another orientation: the file differs, the volume does not."
    o = nib.orientations
    im = nib.Nifti1Image(VOL.T, np.diag([.5, .7, 3, 1.]))
    return im.as_reoriented(o.ornt_transform(o.axcodes2ornt('RAS'), o.axcodes2ornt(codes))).to_bytes()

def patch(raw, at, fmt, *values):
    raw = bytearray(raw); struct.pack_into(fmt, raw, at, *values)
    return bytes(raw)

def dicom(name='MR_small.dcm', **tags):
    ds = pydicom.dcmread(get_testdata_file(name, download=False))
    for k, v in tags.items():
        if v is None: delattr(ds, k)
        else: setattr(ds, k, v)
    b = io.BytesIO(); ds.save_as(b)
    return b.getvalue()

def tag(raw, number, value):
    "A TIFF with one tag of its first page set to another value."
    with tifffile.TiffFile(io.BytesIO(raw)) as t:
        x = t.pages[0].tags[number]
        return patch(raw, x.valueoffset, t.byteorder + {3: 'H', 4: 'I', 16: 'Q'}[int(x.dtype)], value)

def ifd_loop(n, back):
    "A TIFF of n pages, the last of which points back to page `back`."
    raw = tif_pages(*[np.zeros((2, 2), 'u1')]*n)
    at, offsets = 4, []
    while (o := struct.unpack_from('<I', raw, at)[0]):
        offsets.append(o); at = o + 2 + 12*struct.unpack_from('<H', raw, o)[0]
    return patch(raw, at, '<I', offsets[back])

def strip_bomb():
    raw, big = tif(np.zeros((64, 64), 'u1'), compression='zlib'), zlib.compress(bytes(2**28), 9)
    return tag(tag(raw, 273, len(raw)), 279, len(big)) + big

def series(folder, zs=(4, 1, 3, 2), **tags):
    "DICOM slices of 3 × 4 pixels, written in the order of `zs`; the pixels of a slice are 100·z."
    folder.mkdir(parents=True, exist_ok=True)
    for i, z in enumerate(zs):
        ds = pydicom.dcmread(get_testdata_file('MR_small.dcm', download=False))
        ds.Rows, ds.Columns, ds.PixelSpacing, ds.SliceThickness = 3, 4, [2., .5], 9
        ds.ImageOrientationPatient, ds.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [-5., -7., 1.5*z]
        ds.PixelData = (100*z + np.arange(12)).astype('<i2').tobytes()
        for k, v in tags.items(): setattr(ds, k, v(i) if callable(v) else v)
        ds.save_as(folder/f'IM{i:04d}')
    return folder

# --- what comes out
def same(a, axes=None, dtype=None, **more):
    "A check: these pixels exactly, these axes, and any further attributes."
    def check(im):
        np.testing.assert_array_equal(im.array, a)
        assert im.array.dtype == (dtype or a.dtype) and im.array.dtype.isnative
        assert im.axes == (axes or {2: 'YX', 3: 'YXC', 4: 'ZYXC'}[a.ndim])
        for k, v in more.items(): assert getattr(im, k) == v, (k, getattr(im, k))
    return check

def near(a, tolerance):
    def check(im): assert im.array.shape == a.shape and np.abs(im.array.astype(float) - a).max() <= tolerance
    return check

def cmyk_rgb(a): return np.rint((255. - a[..., :3])*(255. - a[..., 3:])/255)

PAL = P.fromarray(RGB).quantize(16)
GREYPAL = P.fromarray(G8 // 64 * 80).convert('P')
MR = pydicom.dcmread(get_testdata_file('MR_small.dcm', download=False)).pixel_array
NAN = np.array([[0, 1, np.nan], [2, np.inf, -np.inf]], 'f4')
ZC = R.integers(0, 999, (4, 3, 20, 30)).astype('u2')  # Z, C, Y, X
LONG = 'no pixels|broken|not a PNG'
P12 = tag(tag(tag(tag(tif(np.zeros((2, 3), 'u1')), 256, 2), 258, 12), 278, 2), 279, 6)
with tifffile.TiffFile(io.BytesIO(P12)) as t:
    P12 = patch(P12, t.pages[0].dataoffsets[0], '6s', bytes.fromhex('123456789abc'))

# name of the file: (bytes, either the expected pixels as a check or a pattern of the message)
FILES = {
    # PNG
    'grey.png': (pil(G8), same(G8, format='PNG', channels=('grey',))),
    'grey16.png': (pil(G16), same(G16, bits=12)),
    'grey16_as_big_endian.png': (png16(G16), same(G16)),
    'rgb16.png': (png16(np.stack([G16]*3, -1) + np.arange(3, dtype='u2')),
                  same(np.stack([G16]*3, -1) + np.arange(3, dtype='u2'), channels=('red', 'green', 'blue'))),
    'rgba16.png': (png16(np.stack([G16]*4, -1)), same(np.stack([G16]*3, -1), meta=dict(alpha=True))),
    'grey_alpha16.png': (png16(np.stack([G16]*2, -1)), same(G16, meta=dict(alpha=True))),
    'rgba.png': (pil(RGBA), same(RGBA[..., :3], meta=dict(alpha=True))),
    'grey_alpha.png': (pil(P.fromarray(RGBA).convert('LA')), same(np.array(P.fromarray(RGBA).convert('LA'))[..., 0])),
    'palette.png': (pil(PAL), same(np.array(PAL.convert('RGB')))),
    'palette_grey.png': (pil(GREYPAL), same(G8 // 64 * 80)),
    'palette_transparent.png': (pil(PAL, transparency=b'\0\x80'),
                                same(np.array(PAL.convert('RGB')), meta=dict(alpha=True))),
    'one_bit.png': (pil(G8 > 99), same(G8 > 99, bits=1)),
    'two_bits.png': (png_raw(4, 1, 2, 0, b'\0\x1b'), same(np.array([[0, 1, 2, 3]], 'u1'), bits=2)),
    'four_bits.png': (png_raw(4, 1, 4, 0, b'\0\x01\x9f'), same(np.array([[0, 1, 9, 15]], 'u1'), bits=4)),
    'palette_of_two_bits.png': (pil(P.fromarray(G8 // 64 * 80).quantize(4), bits=2), same(G8 // 64 * 80)),
    'one_by_one.png': (pil(np.array([[7]], 'u1')), same(np.array([[7]], 'u1'))),
    '100000x1.png': (pil(np.arange(100000).astype('u1')[:, None]), same(np.arange(100000).astype('u1')[:, None])),
    '1x100000.png': (pil(np.arange(100000).astype('u1')[None]), same(np.arange(100000).astype('u1')[None])),
    'zero_by_zero.png': (png_raw(0, 0, 8, 0, b''), LONG),
    'empty.png': (b'', r'empty \(0 bytes\)'),
    'cut_in_half.png': (pil(G8)[:300], 'broken'),
    'signature_only.png': (b'\x89PNG\r\n\x1a\n', 'broken'),
    'no_pixels_inside.png': (b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', 9, 9, 8, 0, 0, 0, 0)) + chunk(b'IEND', b''), 'broken'),
    'wrong_checksum.png': (pil(G8)[:45] + b'\x55\x55\x55' + pil(G8)[48:], 'broken'),
    'rgb16_wrong_checksum.png': (png16(np.stack([G16]*3, -1), corrupt_dataset=True), 'broken'),
    'rgb16_odd_profile.png': (png16(np.stack([G16]*3, -1), more=chunk(b'iCCP', b'x\0\0' + zlib.compress(b'not a profile'))), same(np.stack([G16]*3, -1))),
    'bomb_60000x60000.png': (png_raw(60000, 60000, 8, 0, bytes(999)), 'more than max_pixels'),
    'bomb_of_text.png': (png_raw(30, 20, 8, 0, b''.join(b'\0' + r.tobytes() for r in G8),
                                 chunk(b'zTXt', b'k\0\0' + zlib.compress(bytes(2**26)))), 'broken'),
    # JPEG
    'grey.jpg': (pil(np.full((16, 16), 90, 'u1'), 'JPEG'), same(np.full((16, 16), 90, 'u1'), format='JPEG')),
    'cmyk.jpg': (pil(P.new('CMYK', (16, 16), (200, 30, 90, 40)), 'JPEG', quality=100),
                 near(cmyk_rgb(np.tile(np.array([200, 30, 90, 40.]), (16, 16, 1))), 6)),
    'cut.jpg': (pil(RGB, 'JPEG')[:-200], 'broken'),
    'start_only.jpg': (b'\xff\xd8\xff\xe0', 'broken'),
    'web_page.jpg': (b'<!DOCTYPE html><html>404</html>', 'not a PNG'),
    'too_large.jpg': (patch(pil(G8, 'JPEG'), pil(G8, 'JPEG').index(b'\xff\xc0') + 5, '>HH', 65500, 65500),
                      'more than max_pixels'),
    # BMP
    'grey.bmp': (pil(G8, 'BMP'), same(G8, format='BMP')),
    'colour.bmp': (pil(RGB, 'BMP'), same(RGB)),
    'palette.bmp': (pil(PAL, 'BMP'), same(np.array(PAL.convert('RGB')))),
    'one_bit.bmp': (pil(G8 > 99, 'BMP'), same(G8 > 99)),
    'with_alpha.bmp': (pil(RGBA, 'BMP'), same(RGBA[..., :3])),
    'cut.bmp': (pil(RGB, 'BMP')[:-500], 'broken'),
    'only_BM.bmp': (b'BM and some text', 'broken'),
    'lies.bmp': (patch(pil(G8, 'BMP'), 18, '<ii', 50000, 50000), 'more than max_pixels'),
    # names that lie: the content decides
    'a_png_called.tif': (pil(G16), same(G16, format='PNG')),
    'a_tiff_called.jpg': (tif(G16), same(G16, format='TIFF')),
    'a_dicom_called.png': (dicom(),
                           lambda im: np.testing.assert_equal((im.format, im.array.shape), ('DICOM', (64, 64)))),
    'a_nifti_called.dcm': (nii(), same(VOL, 'ZYX', format='NIfTI')),
    'no_suffix_at_all': (pil(G8), same(G8)),
    'text.tif': (b'just some words', 'not a PNG'),
    'numpy.npy.png': (b'\x93NUMPY\x01\x00', 'not a PNG'),
    # TIFF
    **{f'{t}.tif': (tif(R.integers(0, 100, (20, 30)).astype(t)), lambda im, t=t: np.testing.assert_equal((im.array.dtype, im.axes), (np.dtype(t), 'YX'))) for t in ('u1', 'u2', 'u4', 'i1', 'i2', 'i4', 'f2', 'f4', 'f8')},
    **{f'{c}_{p}.tif': (tif(G16, compression=c, predictor=p, rowsperstrip=7), same(G16)) for c in ('lzw', 'zlib')
       for p in (False, True)},
    **{f'{c}.tif': (tif(G16, compression=c), same(G16)) for c in ('packbits', 'zstd', 'lzma')},
    'float_nan.tif': (tif(NAN), same(NAN)),
    'float_deflate.tif': (tif(NAN, compression='zlib', predictor=3), same(NAN)),
    'big_endian.tif': (tif(G16, byteorder='>'), same(G16)),
    'big_endian_float.tif': (tif(NAN, byteorder='>'), same(NAN)),
    'bigtiff.tif': (tif(G16, bigtiff=True), same(G16)),
    'tiled.tif': (tif(G16, tile=(16, 16), compression='zlib'), same(G16)),
    'twelve_bits_packed.tif': (P12, same(np.array([[0x123, 0x456], [0x789, 0xabc]], 'u2'))),
    'rgb.tif': (tif(RGB, photometric='rgb'), same(RGB)),
    'rgba.tif': (tif(RGBA, photometric='rgb'), same(RGBA[..., :3], meta=dict(alpha=True))),
    'rgb16.tif': (tif(np.stack([G16]*3, -1), photometric='rgb', compression='lzw'), same(np.stack([G16]*3, -1))),
    'channels_first_planar.tif': (tif(np.moveaxis(RGB, 2, 0).copy(), photometric='rgb', planarconfig='separate'),
                                  same(RGB)),
    'channels_first_2.tif': (tif(np.stack([G16, G16 + 1]), photometric='minisblack'),
                             same(np.stack([G16, G16 + 1], -1), channels=('channel 0', 'channel 1'))),
    'channels_first_4.tif': (tif(np.stack([G16]*4), photometric='minisblack'), same(np.stack([G16]*4, -1))),
    'channels_last_5.tif': (tif(np.stack([G16]*5, -1), photometric='minisblack'), same(np.stack([G16]*5, -1))),
    'stack_of_9.tif': (tif(np.stack([G16 + i for i in range(9)]), photometric='minisblack'),
                       same(np.stack([G16 + i for i in range(9)]), 'ZYX')),
    'pages_2.tif': (tif_pages(G16, G16 + 1), same(np.stack([G16, G16 + 1]), 'ZYX')),
    'pages_pil.tif': (pil(P.fromarray(G8), 'TIFF', save_all=True, append_images=[P.fromarray(255 - G8)]),
                      same(np.stack([G8, 255 - G8]), 'ZYX')),
    'pages_of_colour.tif': (tif_pages(RGB, RGB, photometric='rgb'), same(np.stack([RGB, RGB]), 'ZYXC')),
    'pages_of_different_sizes.tif': (tif_pages(G16, G16[:9]), 'different sizes.*9×30'),
    'imagej.tif': (tif(ZC, imagej=True, metadata=dict(axes='ZCYX', spacing=2., unit='um'), resolution=(4, 2)),
                   same(np.moveaxis(ZC, 1, -1), 'ZYXC', spacing=(2., .5, .25), unit='µm')),
    'imagej_time.tif': (tif(ZC[:, 0], imagej=True, metadata=dict(axes='TYX')), same(ZC[:, 0], 'ZYX')),
    'imagej_time_and_z.tif': (tif(np.stack([ZC, ZC]), imagej=True, metadata=dict(axes='TZCYX')), 'axes are TZCYX'),
    'ome.ome.tif': (tif(ZC, ome=True, metadata=dict(axes='ZCYX', PhysicalSizeX=.5, PhysicalSizeY=.5, PhysicalSizeZ=2, Channel=dict(Name=['DAPI', 'actin', 'tubulin']))), same(np.moveaxis(ZC, 1, -1), 'ZYXC', spacing=(2., .5, .5), channels=('DAPI', 'actin', 'tubulin'))),
    'ome_in_cm.ome.tif': (tif(ZC[0, 0], ome=True, metadata=dict(axes='YX', PhysicalSizeX=.05, PhysicalSizeXUnit='cm', PhysicalSizeY=.08, PhysicalSizeYUnit='cm')), same(ZC[0, 0], spacing=(.8, .5), unit='mm')),
    'imagej_in_mm.tif': (tif(ZC[:, 0], imagej=True, metadata=dict(axes='ZYX', spacing=3., unit='mm'), resolution=(2, 2)), same(ZC[:, 0], 'ZYX', spacing=(3., .5, .5), unit='mm')),
    'imagej_in_inch.tif': (tif(ZC[0, 0], imagej=True, metadata=dict(axes='YX', unit='inch'), resolution=(72, 72)), same(ZC[0, 0], spacing=None)),
    'ome_in_mm.ome.tif': (tif(ZC[0, 0], ome=True, metadata=dict(axes='YX', PhysicalSizeX=.001, PhysicalSizeXUnit='mm', PhysicalSizeY=.002, PhysicalSizeYUnit='mm')), same(ZC[0, 0], spacing=(2., 1.), unit='µm')),
    'ome_promises_more.ome.tif': (tif(ZC, ome=True, metadata=dict(axes='ZCYX')).replace(b'SizeZ="4"', b'SizeZ="9"'),
                                  'parts of it are missing'),
    'cmyk.tif': (tif(RGBA, photometric='separated'), same(cmyk_rgb(RGBA).astype('u1'))),
    'palette.tif': (pil(PAL, 'TIFF'), same(np.array(PAL.convert('RGB')))),
    'palette_16.tif': (tif(G8, photometric='palette', colormap=np.stack([np.arange(256), np.arange(256)*3, np.zeros(256)]).astype('u2')), same(np.stack([G8, G8.astype('u2')*3, G8*0], -1).astype('u2'))),
    'white_is_zero.tif': (tif(G8, photometric='miniswhite'), same(255 - G8)),
    'white_is_zero_signed.tif': (tif(VOL[0] - 1500, photometric='miniswhite'), same(1499 - VOL[0])),
    'white_is_zero_float.tif': (tif(NAN, photometric='miniswhite'), 'white.*MINISBLACK'),
    'one_bit.tif': (pil(G8 > 99, 'TIFF'), same(G8 > 99)),
    'fax.tif': (pil(G8 > 99, 'TIFF', compression='group4'), same(G8 > 99)),
    'bool_by_tifffile.tif': (tif(G8 > 99), same(G8 > 99)),
    'turned.tif': (tif(G16, extratags=[(274, 3, 1, 6, True)]), same(np.rot90(G16, -1))),
    'pyramid.tif': (None, same(np.tile(G8, (8, 8)))),
    'jpeg_inside.tif': (tif(np.full((32, 32), 77, 'u1'), compression='jpeg'), same(np.full((32, 32), 77, 'u1'))),
    'jpeg2000_inside.tif': (tif(np.full((64, 64), 77, 'u1'), compression='jpeg2000'), 'compression .* is not read'),
    'one_by_one.tif': (tif(np.array([[5]], 'u2')), same(np.array([[5]], 'u2'))),
    'complex.tif': (tif(NAN.astype('c8')), 'complex'),
    'cut.tif': (tif(G16)[:-100], 'broken|cut short'),
    'cut_lzw.tif': (tif(G16, compression='lzw')[:-100], 'broken|cut short'),
    'cut_stack.tif': (tif(ZC[:, 0], imagej=True)[:-1500], 'broken|cut short|missing'),
    'cut_pages.tif': (tif_pages(*[G16]*4)[:-900], 'broken|cut short|missing'),
    'header_only.tif': (b'II*\0\x08\0\0\0', 'broken|cut short'),
    'width_lies.tif': (tag(tif(G16), 256, 60000), 'broken|max_pixels|missing'),
    'size_lies.tif': (tag(tag(tif(G16, compression='zlib'), 256, 2**31), 257, 2**31), 'max_pixels'),
    'strip_missing.tif': (tag(tif(G16), 279, 0), 'missing'),
    'strip_bomb.tif': (strip_bomb(), 'broken'),
    'loop_of_2_pages.tif': (ifd_loop(2, 0), 'loop'),
    'loop_after_150_pages.tif': (ifd_loop(150, 120), 'loop'),
    # NIfTI
    'plain.nii': (nii(), same(VOL, 'ZYX', spacing=(3., .7, .5), unit='mm')),
    'packed.nii.gz': (gzip.compress(nii()), same(VOL, 'ZYX')),
    **{f'oriented_{c}.nii': (nii_oriented(c), same(VOL, 'ZYX', spacing=(3., .7, .5)))
       for c in ('LPS', 'ASR', 'PIR', 'SAL', 'LIP')},
    'float.nii': (nii(VOL.astype('f4')/3), same(VOL.astype('f4')/3, 'ZYX')),
    'rescaled.nii': (nii(slope=(2, -1024)), same(VOL*2 - 1024, 'ZYX', 'i4')),
    'rescaled_real.nii': (nii(slope=(.5, 3)), same((VOL*.5 + 3).astype('f4'), 'ZYX')),
    'big_endian.nii': (nib.Nifti1Image(VOL.T, np.eye(4), nib.Nifti1Header(endianness='>'), dtype='i2').to_bytes(),
                       same(VOL, 'ZYX')),
    'nifti2.nii': (nii(cls=nib.Nifti2Image), same(VOL, 'ZYX')),
    'four_axes.nii': (nii(np.stack([VOL, VOL + 1])), same(np.stack([VOL, VOL + 1], -1), 'ZYXC')),
    'two_axes.nii': (nii(VOL[0]), same(VOL[0][::-1], 'YX', spacing=(.7, .5))),
    'colour.nii': (nii(np.zeros((2, 3, 4), [('R', 'u1'), ('G', 'u1'), ('B', 'u1')])),
                   same(np.zeros((2, 3, 4, 3), 'u1'))),
    'complex.nii': (nii(VOL.astype('c8')), 'complex'),
    'micrometres.nii': (patch(nii(), 123, 'B', 3), same(VOL, 'ZYX', spacing=(.003, .0007, .0005))),
    'singular.nii': (patch(nii(), 280, '<12f', *[0]*12), 'affine'),
    'nan_affine.nii': (patch(nii(), 280, '<12f', *[np.nan]*12), 'affine|broken'),
    'cut.nii': (nii()[:-40], 'cut short'),
    'header_only.nii': (nii()[:348], 'cut short'),
    'header_lies.nii': (patch(nii(), 42, '<3h', 30000, 30000, 30000), 'max_pixels'),
    'header_lies.nii.gz': (gzip.compress(patch(nii(), 42, '<3h', 300, 300, 300)), 'cut short'),
    'negative.nii': (patch(nii(), 42, '<3h', -5, 5, 5), 'no pixels|broken'),
    'offset_lies.nii': (patch(nii(), 108, '<f', 1e30), 'header is false|broken'),
    'half_of_a_pair.hdr': (patch(nii(), 344, '4s', b'ni1\0')[:348], 'one half of a NIfTI pair'),
    'cut.nii.gz': (gzip.compress(nii())[:-60], 'broken'),
    'corrupt.nii.gz': (patch(gzip.compress(nii()), 200, '8s', b'\xff'*8), 'broken|gzip'),
    'wrong_checksum.nii.gz': (gzip.compress(nii())[:-8] + b'\0'*8, 'broken'),
    'text.nii.gz': (gzip.compress(b'no image'), 'does not hold NIfTI'),
    'bomb.nii.gz': (gzip.compress(bytes(2**27)), 'does not hold NIfTI'),
    'more_than_promised.nii.gz': (gzip.compress(nii() + bytes(2**27)), same(VOL, 'ZYX')),
    # DICOM
    'mr.dcm': (dicom(),
               lambda im: np.testing.assert_equal((im.axes, im.array.dtype, im.spacing, im.unit, im.meta['patient'], im.meta['window']), ('YX', np.int16, (.3125, .3125), 'mm', '4MR1', (-200, 1400)))),
    'ct_hounsfield.dcm': (dicom('CT_small.dcm'),
                          lambda im: np.testing.assert_equal((im.array.min(), im.array.max()),
                                                             (128 - 1024, 2191 - 1024))),
    'rescale_real.dcm': (dicom(RescaleSlope=.5, RescaleIntercept=1),
                         lambda im: np.testing.assert_equal((im.array.dtype, im.array.max()),
                                                            (np.float32, 2145*.5 + 1))),
    'monochrome1.dcm': (dicom(PhotometricInterpretation='MONOCHROME1', PixelRepresentation=0, BitsStored=12),
                        same(4095 - MR.astype('u2'))),
    'monochrome1_rescaled.dcm': (dicom(PhotometricInterpretation='MONOCHROME1', PixelRepresentation=0, BitsStored=12,
                                       RescaleSlope=2, RescaleIntercept=-1000),
                                 same(2*4095 - 1000 - 2*MR.astype('i2'))),
    'big_endian.dcm': (dicom('MR_small_bigendian.dcm'), same(MR)),
    **{f'{n}.dcm': (dicom(f'MR_small_{n}.dcm'), same(MR))
       for n in ('RLE', 'jp2klossless', 'jpeg_ls_lossless', 'implicit')},
    'twelve_bit_jpeg.dcm': (dicom('JPGExtended.dcm'),
                            lambda im: np.testing.assert_equal((im.array.shape, im.array.max()), ((1024, 256), 264))),
    'lossless_jpeg_rgb.dcm': (dicom('SC_rgb_jpeg_gdcm.dcm'),
                              same(pydicom.dcmread(get_testdata_file('SC_rgb_rle.dcm', download=False)).pixel_array)),
    'frames.dcm': (dicom('SC_rgb_rle_2frame.dcm'),
                   lambda im: np.testing.assert_equal((im.axes, im.array.shape), ('ZYXC', (2, 100, 100, 3)))),
    'palette.dcm': (dicom('examples_palette.dcm'),
                    lambda im: np.testing.assert_equal((im.axes, im.array.shape), ('YXC', (350, 800, 3)))),
    'one_bit.dcm': (dicom('liver_1frame.dcm'), lambda im: np.testing.assert_equal(np.unique(im.array), [0, 1])),
    'deflated.dcm': (dicom('image_dfl.dcm'), lambda im: np.testing.assert_equal(im.array.shape, (512, 512))),
    'without_preamble.dcm': (dicom()[132:], same(MR)),
    'without_pixels.dcm': (dicom(PixelData=None), 'DICOM without pixels'),
    'report.dcm': (dicom('reportsi.dcm'), r'DICOM without pixels \(it holds SR\)'),
    'cut.dcm': (dicom()[:-3000], 'broken'),
    'cut_in_header.dcm': (dicom()[:700], 'DICOM without pixels|broken'),
    'magic_only.dcm': (bytes(128) + b'DICM', 'broken|without pixels'),
    'size_lies.dcm': (dicom(Rows=60000, Columns=60000), 'max_pixels'),
    'frames_lie.dcm': (dicom(NumberOfFrames=10**7), 'max_pixels'),
    'no_rows.dcm': (dicom(Rows=0), 'no pixels'),
    'frame_larger_than_said.dcm': (dicom('MR_small_jpeg_ls_lossless.dcm', Rows=8, Columns=8), 'broken'),
}

def make(tmp_path, name, raw):
    f = tmp_path/name
    if name == 'pyramid.tif':
        big = np.tile(G8, (8, 8))
        with tifffile.TiffWriter(f) as t:
            t.write(big, subifds=1, photometric='minisblack')
            t.write(big[::2, ::2], subfiletype=1, photometric='minisblack')
    else: f.write_bytes(raw)
    return f

def refused(path, pattern='', **k):
    with pytest.raises(InputError) as e: read_image(path, **k)
    message = str(e.value)
    assert shown(path) in message and '\n' not in message and message.isprintable() and len(message) < 700
    assert re.search(pattern, message), message

@pytest.mark.parametrize('name', FILES)
def test_file(tmp_path, name, capfd):
    raw, expected = FILES[name]
    f = make(tmp_path, name, raw)
    with warnings.catch_warnings(record=True) as w:
        warnings.simplefilter('always')
        if isinstance(expected, str): refused(f, expected)
        else: expected(read_image(f))
    assert not w, [str(x.message) for x in w]
    assert capfd.readouterr() == ('', '')
    if not isinstance(expected, str):  # what can be read can be used
        x = load(f, Preprocessing(16))
        assert x.shape[:2] == (16, 16) and x.dtype == np.float32 and np.isfinite(x).all()

@pytest.mark.parametrize('o', range(1, 9))
def test_tiff_orientation_of_pages(tmp_path, o):
    "A stack is turned as its first page alone is, and so is the size of a pixel."
    um = dict(PhysicalSizeX=.5, PhysicalSizeY=.25, PhysicalSizeZ=2)
    turn = [(274, 3, 1, o, True)]
    for name, a, axes in (('one', G16, 'YX'), ('stack', ZC[:, 0], 'ZYX'), ('colours', np.moveaxis(ZC, 1, -1), 'ZYXS')):
        (tmp_path/f'{name}.ome.tif').write_bytes(tif(a, ome=True, metadata=dict(um, axes=axes), extratags=turn,
                                                     photometric='rgb' if 'S' in axes else 'minisblack'))
        im = read_image(tmp_path/f'{name}.ome.tif')
        planes = a if axes[0] == 'Z' else a[None]
        np.testing.assert_array_equal(im.array, np.stack([upright(p, o) for p in planes]).reshape(im.array.shape))
        assert im.spacing[-2:] == ((.5, .25) if o > 4 else (.25, .5)), name
    assert open_large(tmp_path/'one.ome.tif').spacing == read_image(tmp_path/'one.ome.tif').spacing

@pytest.mark.parametrize('slope,inter', [(1, 0), (2, -1000), (.5, 3)])
def test_window_is_inverted_with_the_pixels(tmp_path, slope, inter):
    "The same share of the pixels lies in the window, whichever end is white."
    tags = dict(PixelRepresentation=0, BitsStored=12, RescaleSlope=slope, RescaleIntercept=inter,
                WindowCenter=slope*900 + inter, WindowWidth=slope*401)
    inside = {}
    for kind in ('MONOCHROME2', 'MONOCHROME1'):
        im = read_image(make(tmp_path, f'{kind}.dcm', dicom(PhotometricInterpretation=kind, **tags)))
        low, high = im.meta['window']
        inside[kind] = (low < im.array) & (im.array < high)
    np.testing.assert_array_equal(inside['MONOCHROME1'], inside['MONOCHROME2'])
    assert 0 < inside['MONOCHROME1'].mean() < 1

def test_monochrome1_with_a_table(tmp_path):
    "The table gives the scanner's units, which are inverted then."
    lut = pydicom.Dataset()
    lut.LUTDescriptor, lut.LUTData = [4096, 0, 16], (np.arange(4096)**2//256).astype('<u2').tobytes()
    tags = dict(PixelRepresentation=0, BitsStored=12, ModalityLUTSequence=pydicom.Sequence([lut]))
    two, one = (read_image(make(tmp_path, f'{kind}.dcm', dicom(PhotometricInterpretation=kind, **tags))).array
                for kind in ('MONOCHROME2', 'MONOCHROME1'))
    np.testing.assert_array_equal(one, 65535 - two)

@pytest.mark.parametrize('o', range(1, 9))
def test_exif_orientation(tmp_path, o):
    exif = P.Exif(); exif[274] = o
    for fmt, a in (('PNG', G8), ('JPEG', np.repeat(np.repeat(RGB[:4, :6], 16, 0), 16, 1))):
        f = tmp_path/f'{o}.{fmt}'; f.write_bytes(pil(a, fmt, exif=exif))
        with P.open(f) as im: np.testing.assert_array_equal(read_image(f).array, np.array(ImageOps.exif_transpose(im)))

@pytest.mark.parametrize('axis,codes', [('axial', 'RAS'), ('axial', 'LPS'), ('coronal', 'RSA'), ('coronal', 'LIP'),
                                        ('sagittal', 'ASR'), ('sagittal', 'PIL')])
def test_nifti_of_two_axes_lies_as_the_slice_of_a_volume(tmp_path, axis, codes):
    one = VOL[:1] if axis == 'axial' else VOL[:, :1] if axis == 'coronal' else VOL[:, :, :1]
    o = nib.orientations
    im = nib.Nifti1Image(one.T, np.diag([.5, .7, 3, 1.]))
    im = im.as_reoriented(o.ornt_transform(o.axcodes2ornt('RAS'), o.axcodes2ornt(codes)))
    nib.save(im, tmp_path/'volume.nii')
    nib.save(nib.Nifti1Image(np.asarray(im.dataobj)[..., 0], im.affine), tmp_path/'flat.nii')
    plane, spacing = take_plane(read_image(tmp_path/'volume.nii'), axis)
    flat = read_image(tmp_path/'flat.nii')
    np.testing.assert_array_equal(flat.array, plane)
    assert (flat.axes, flat.spacing) == ('YX', spacing)

# --- names, links, folders, permissions
NAMES = ['with space.png', "quote'and\"double.png", 'new\nline.png', 'esc\x1b[31m.png', '細胞画像.png', 'кле́тка.png',
         'صورة.png', '%s{0}.png', '-rf.png', 'x'*240 + '.png', ' .png', 'a;b|c&d.png']

@pytest.mark.parametrize('name', NAMES, ids=lambda n: ascii(n)[:30])
def test_names(tmp_path, name):
    f = tmp_path/name; f.write_bytes(pil(G8))
    np.testing.assert_array_equal(read_image(str(f)).array, G8)
    assert find_images(tmp_path) == [f]
    f.write_bytes(b'broken'); refused(f)

def test_name_that_is_not_text(tmp_path):
    f = tmp_path/os.fsdecode(b'caf\xe9.png')
    try: f.write_bytes(pil(G8))
    except OSError: pytest.skip('this file system wants UTF-8 names')
    np.testing.assert_array_equal(read_image(f).array, G8)
    f.write_bytes(b'?'); refused(f)

@pytest.mark.parametrize('bad',
                         [None, float('nan'), 3, b'x.png', ['x.png'], 'nul\0byte.png', 'no/such/file.png', '',
                          'x'*5000 + '.png'], ids=lambda b: repr(b)[:20])
def test_not_a_file(bad):
    with pytest.raises(InputError) as e: read_image(bad)
    assert '\n' not in str(e.value)

def test_links_and_folders(tmp_path):
    a, b, loop, gone, good = (tmp_path/n for n in ('a.png', 'b.png', 'loop.png', 'gone.png', 'good.png'))
    a.symlink_to(b)
    b.symlink_to(a)
    loop.symlink_to(loop)
    gone.symlink_to(tmp_path/'nothing')
    (tmp_path/'real.png').write_bytes(pil(G8))
    good.symlink_to(tmp_path/'real.png')
    for f in (a, loop): refused(f, 'symbolic links|opened')
    refused(gone, 'no such file')
    np.testing.assert_array_equal(read_image(good).array, G8)
    refused(tmp_path, 'folder')
    (tmp_path/'round').mkdir(); (tmp_path/'round'/'again').symlink_to(tmp_path)
    assert len(find_images(tmp_path)) == 6

def test_pipe_and_device(tmp_path):
    os.mkfifo(tmp_path/'pipe.png'); refused(tmp_path/'pipe.png', 'not a plain file')  # opening it would wait for ever
    refused('/dev/zero', 'not a plain file')

def test_no_permission():
    if not hasattr(os, 'seteuid'): pytest.skip('no Unix permissions here')
    folder = Path(tempfile.mkdtemp()); folder.chmod(0o755)
    f = folder/'locked.png'; f.write_bytes(pil(G8)); f.chmod(0)
    (folder/'shut').mkdir(mode=0)
    root = os.geteuid() == 0
    if root: os.seteuid(65534)  # root may read everything: be nobody for a moment
    try:
        refused(f, 'Permission denied')
        refused(folder/'shut', 'Permission denied')
        refused(folder/'shut'/'a.png', 'Permission denied')
        with pytest.raises(InputError, match='shut.*Permission denied'): find_images(folder)
    finally:
        if root: os.seteuid(0)

# --- a folder of DICOM slices
def test_series_is_sorted_by_position(tmp_path):
    im = read_image(series(tmp_path/'s'))
    assert (im.axes, im.array.shape, im.spacing, im.meta['orientation'], im.format) == ('ZYX', (4, 3, 4), (1.5, 2., .5), 'RAS', 'DICOM')
    np.testing.assert_array_equal(im.array[:, 0, 0] // 100, [1, 2, 3, 4])       # from the feet up
    np.testing.assert_array_equal(im.array[0], (100 + np.arange(12)).reshape(3, 4)[::-1, ::-1])  # LPS turned to RAS

def test_series_equals_the_same_volume_as_nifti(tmp_path):
    im = read_image(series(tmp_path/'s'))
    stored = np.stack([100*z + np.arange(12).reshape(3, 4) for z in (1, 2, 3, 4)]).astype('i2')
    nib.save(nib.Nifti1Image(stored.T, np.diag([-.5, -2, 1.5, 1])), tmp_path/'v.nii')
    np.testing.assert_array_equal(read_image(tmp_path/'v.nii').array, im.array)

def test_series_sagittal(tmp_path):
    im = read_image(series(tmp_path/'s', ImageOrientationPatient=[0, 1, 0, 0, 0, -1],
                           ImagePositionPatient=lambda i: [3.*i, 0, 0]))
    assert im.array.shape == (3, 4, 4) and im.spacing == (2., .5, 3.)
    # files in order run from right to left: X is turned
    np.testing.assert_array_equal(im.array[-1, -1, ::-1] // 100, [4, 1, 3, 2])

@pytest.mark.parametrize('what,pattern,tags', [
    ('gap', 'not evenly spaced', dict(zs=(1, 2, 4, 5))), ('twice', 'not evenly spaced', dict(zs=(1, 2, 2, 3))),
    ('two_series', '2 DICOM series', dict(SeriesInstanceUID=lambda i: f'1.2.{i//2}')),
    ('two_sizes', 'differ in size', dict(Rows=lambda i: 2 + i % 2, Columns=lambda i: 6 if i % 2 == 0 else 4)),
    ('scout', 'orientation', dict(ImageOrientationPatient=lambda i: [1, 0, 0, 0, 1, 0] if i else [0, 1, 0, 0, 0, 1])),
    ('nowhere', 'where they lie', dict(ImagePositionPatient=lambda i: None)),
    ('cut', 'IM0001', dict(PixelData=lambda i: bytes(24 if i != 1 else 6)))])
def test_series_refused(tmp_path, what, pattern, tags): refused(series(tmp_path/what, **tags), pattern)

def test_frames_with_places_of_their_own(tmp_path):
    "Enhanced multi-frame: position, spacing and rescaling in the functional groups, frames in any order."
    D, S = pydicom.Dataset, pydicom.Sequence
    group = lambda **k: S([(d := D(), [setattr(d, n, v) for n, v in k.items()])[0]])
    ds = pydicom.dcmread(get_testdata_file('MR_small.dcm', download=False))
    for k in ('PixelSpacing', 'ImagePositionPatient', 'ImageOrientationPatient'): delattr(ds, k)
    zs = (3, 1, 2)
    ds.Rows, ds.Columns, ds.NumberOfFrames = 3, 4, 3
    ds.PixelData = b''.join((100*z + np.arange(12)).astype('<i2').tobytes() for z in zs)
    shared = D()
    shared.PlaneOrientationSequence = group(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    shared.PixelMeasuresSequence = group(PixelSpacing=[2., .5], SliceThickness=9)
    ds.SharedFunctionalGroupsSequence, frames = S([shared]), []
    for z in zs:
        f = D()
        f.PlanePositionSequence = group(ImagePositionPatient=[0, 0, 1.5*z])
        f.PixelValueTransformationSequence = group(RescaleSlope=2, RescaleIntercept=-5, RescaleType='US')
        frames.append(f)
    ds.PerFrameFunctionalGroupsSequence = S(frames)
    ds.save_as(tmp_path/'enhanced.dcm')
    im = read_image(tmp_path/'enhanced.dcm')
    assert (im.axes, im.spacing) == ('ZYX', (1.5, 2., .5))
    np.testing.assert_array_equal(im.array[:, -1, -1], 2*np.array([100, 200, 300]) - 5)

def test_series_among_other_files(tmp_path):
    s = series(tmp_path/'s')
    (s/'README.txt').write_text('x')
    (s/'.hidden').write_bytes(b'x')
    (s/'empty').touch()
    (s/'sub').mkdir()
    (s/'report').write_bytes(dicom('reportsi.dcm'))
    assert read_image(s).array.shape == (4, 3, 4)
    refused(s, 'max_pixels', max_pixels=40)
    (tmp_path/'none').mkdir(); refused(tmp_path/'none', 'folder')

# --- bounds
@pytest.mark.skipif(not Path('/proc/self/status').exists(), reason='peak memory is read from Linux')
def test_bombs_take_little_memory(tmp_path):
    ds = pydicom.dcmread(io.BytesIO(dicom()))
    ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    ds.ImageComments = 'a'
    ds.add_new(0x00091010, 'OB', bytes(2**28))
    ds.add_new(0x00090010, 'LO', 'x')
    ds.save_as(tmp_path/'deflated.dcm')
    del ds
    for name in ('strip_bomb.tif', 'bomb_60000x60000.png', 'bomb_of_text.png', 'size_lies.tif', 'header_lies.nii',
                 'size_lies.dcm', 'too_large.jpg', 'lies.bmp'):
        make(tmp_path, name, FILES[name][0])
    with gzip.open(tmp_path/'long.nii.gz', 'wb', 1) as g: g.write(nii()); [g.write(bytes(2**24)) for _ in range(32)]
    raw = tif(np.zeros((64, 64), 'u1'), compression='jpeg'); at = raw.index(b'\xff\xc0')
    (tmp_path/'jpeg_strip.tif').write_bytes(patch(raw, at + 5, '>HH', 65500, 65500))
    code = '''if True:
        import sys, re
        from cytokit.data.formats import read_image
        from cytokit.data.preprocess import find_images
        for f in find_images(sys.argv[1]):
            try: read_image(f, 2**24); print('read', f.name)
            except ValueError as e: assert type(e).__name__ == 'InputError', e
        print(int(re.findall(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[0]) // 1024)'''
    r = subprocess.run([sys.executable, '-c', code, str(tmp_path)], capture_output=True, text=True,
                       cwd=Path(__file__).parents[2])
    assert r.stderr == ''
    *read, peak = r.stdout.split('\n')[:-1]
    assert read == ['read long.nii.gz'] and int(peak) < 700, r.stdout

def test_limit_counts_every_value(tmp_path):
    for name, a in (('c.png', pil(RGB)), ('p.tif', tif_pages(G16, G16)), ('v.nii', nii())):
        (tmp_path/name).write_bytes(a)
        n = read_image(tmp_path/name).array.size
        read_image(tmp_path/name, max_pixels=n); refused(tmp_path/name, 'max_pixels', max_pixels=n - 1)

# --- fuzz
class Hang(BaseException): "Not an Exception: nothing below may swallow it."

SEEDS = ['grey16.png', 'rgb16.png', 'palette.png', 'rgba.png', 'grey.jpg', 'cmyk.jpg', 'palette.bmp', 'lzw_True.tif',
         'zlib_False.tif', 'imagej.tif', 'ome.ome.tif', 'pages_2.tif', 'bigtiff.tif', 'tiled.tif', 'palette_16.tif',
         'jpeg_inside.tif', 'fax.tif',
         'plain.nii', 'packed.nii.gz', 'nifti2.nii', 'mr.dcm', 'jp2klossless.dcm', 'jpeg_ls_lossless.dcm', 'RLE.dcm',
         'lossless_jpeg_rgb.dcm', 'deflated.dcm', 'frames.dcm', 'twelve_bit_jpeg.dcm']

@pytest.mark.parametrize('name', SEEDS)
def test_fuzz(tmp_path, name, capfd):
    def hang(*_): raise Hang(name)
    if hasattr(signal, 'SIGALRM'): signal.signal(signal.SIGALRM, hang); signal.alarm(120)
    whole, g, f = FILES[name][0], rng(1, 'fuzz', name), tmp_path/name
    try:
        for i in range(50):
            raw = bytearray(whole)
            if i % 5 == 0: raw = raw[:int(g.integers(1, len(raw)))]
            else:
                reach = min(len(raw), 600) if i % 2 else len(raw)  # half of the flips hit the header
                for at in g.integers(0, reach, int(g.integers(1, 9))): raw[at] ^= 1 << int(g.integers(8))
            f.write_bytes(raw)
            try: im = read_image(f, max_pixels=2**22)
            except InputError as e: assert name in str(e) and '\n' not in str(e)
            else: assert im.array.ndim == len(im.axes) and im.array.size
    finally:
        if hasattr(signal, 'SIGALRM'): signal.alarm(0)
    assert capfd.readouterr() == ('', '')

# --- preprocessing on odd images
@pytest.mark.parametrize('norm',
                         [dict(), dict(norm='zscore'), dict(norm='zscore_set', low=1., high=2.),
                          dict(norm='window', low=0., high=9.), dict(norm='dtype'), dict(rgb8=True)], ids=str)
@pytest.mark.parametrize('a',
                         [np.zeros((5, 5), 'u2'), np.full((5, 5), 65535, 'u2'), np.full((5, 5), -7, 'i2'), NAN, np.full((4, 4), 3.5), np.array([[1]], 'u1'), np.array([[0, 1e300], [np.nan, -1e300]]), np.array([[0, 2**32 - 1]], 'u4')], ids=lambda a: f'{a.dtype}{a.shape}')
def test_recipes_stay_finite(tmp_path, a, norm):
    f = tmp_path/'a.tif'; f.write_bytes(tif(a))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        x = load(f, Preprocessing(8, **norm))
    assert x.shape[:2] == (8, 8) and x.dtype == np.float32 and np.isfinite(x).all()

def test_nothing_finite(tmp_path):
    f = tmp_path/'n.tif'; f.write_bytes(tif(np.full((4, 4), np.nan, 'f4')))
    for r in (Preprocessing(), Preprocessing(rgb8=True), Preprocessing(norm='dtype')):
        with pytest.raises(InputError, match='n.tif.*finite'): load(f, r)
    with pytest.raises(InputError, match='n.tif.*finite'): fit_preprocessing([f], Preprocessing(norm='zscore_set'))

def test_fit_recipe_refuses_a_mixture(tmp_path):
    for n, a in (('a.tif', np.stack([G16]*2, -1)), ('b.tif', G16)):
        (tmp_path/n).write_bytes(tif(a, photometric='minisblack'))
    with pytest.raises(InputError, match='2 channels.*1'): fit_preprocessing(find_images(tmp_path), Preprocessing())
    with pytest.raises(InputError, match='at least one'): fit_preprocessing([], Preprocessing())

def test_load_in_threads_is_quiet_and_equal(tmp_path, capfd):
    from cytokit.core import parallel_map
    files = [make(tmp_path, n, FILES[n][0]) for n in ('grey16.png', 'imagej.tif', 'mr.dcm', 'plain.nii')]*8
    level = __import__('logging').getLogger('tifffile').level
    filters = list(warnings.filters)
    a, b = parallel_map(lambda f: load(f, Preprocessing(16)), files, n_workers=4), [load(f, Preprocessing(16)) for f in files]
    for x, y in zip(a, b): np.testing.assert_array_equal(x, y)
    assert warnings.filters == filters and __import__('logging').getLogger('tifffile').level == level
    assert capfd.readouterr() == ('', '')

# --- volumes
def test_patient_travels_with_every_slice(tmp_path):
    pd = pytest.importorskip('pandas')
    s = series(tmp_path/'s', zs=range(12), PatientID='P 7\n"x"')
    (tmp_path/'sub-03_T1.nii').write_bytes(nii(np.tile(VOL, (3, 3, 3))))
    t = pd.DataFrame(dict(image=[str(s), str(tmp_path/'sub-03_T1.nii')], target=['a', 'b,"c"'],
                          split=['train', 'valid']))
    out = pd.read_csv(write_slices(t, tmp_path/'out', VolumePreprocessing(n=3, crop=False)))
    assert list(out.columns) == ['image', 'target', 'group', 'split'] and len(out) == 6
    assert set(out.group) == {'P 7\n"x"', 'sub-03'} or set(out.group[3:]) == {'sub-03'} and out.group[0].startswith('P 7')
    assert list(out.target) == ['a']*3 + ['b,"c"']*3
    for f in out.image:
        assert read_image(tmp_path/'out'/f).axes == 'YX' and (tmp_path/'out'/f).resolve().is_relative_to(tmp_path/'out')

def test_a_dicom_series_is_one_volume_everywhere(tmp_path):
    from cytokit import check, read_table
    from cytokit_process import cytokit
    for n in range(4): series(tmp_path/'scans'/'ab'[n % 2]/f'p{n}', PatientID=f'P{n}', SeriesInstanceUID=f'1.2.{n}')
    t = read_table(tmp_path/'scans', group='PatientID')
    assert [Path(p).name for p in t.image] == ['p0', 'p2', 'p1', 'p3'] and list(t.group) == ['P0', 'P2', 'P1', 'P3']
    assert len(check(tmp_path/'scans').rows) == 4
    done = cytokit('-q', 'slice', tmp_path/'scans', tmp_path/'out', '--n', 0, '--part', '0,1', '--spacing', 0, '--no-crop')
    assert done.returncode == 0 and '16 slices of 4 volumes' in done.stdout, done.stderr
    first = [read_image(p).array.min() for p in read_table(tmp_path/'out').image[:4]]
    assert first == [100, 200, 300, 400]  # by position, not by name

def test_series_that_share_a_folder_are_cut_one_by_one(tmp_path):
    for n in range(2):
        series(tmp_path/'scans'/'ab'[n]/'p', SeriesInstanceUID='1.2.1', PatientID=f'P{n}')
        for f in (tmp_path/'scans'/'ab'[n]/'p').iterdir(): f.rename(f.with_name(f'first {f.name}'))
        series(tmp_path/'scans'/'ab'[n]/'p', SeriesInstanceUID='1.2.2', PatientID=f'P{n}', zs=(7, 8, 6))
        series(tmp_path/'scans'/'ab'[n]/'p', zs=(50,), SeriesInstanceUID='1.2.3', ImageType=['ORIGINAL', 'PRIMARY', 'LOCALIZER'])
        (tmp_path/'scans'/'ab'[n]/'p'/'IM0000').rename(tmp_path/'scans'/'ab'[n]/'p'/'IM0009')
        series(tmp_path/'scans'/'ab'[n]/'p', SeriesInstanceUID='1.2.2', PatientID=f'P{n}', zs=(7,))
    from cytokit import read_table
    from cytokit.data.slices import series_table, volume_of
    t = series_table(read_table(tmp_path/'scans'))
    assert len(t) == 4 and sorted(map(len, t.files)) == [3, 3, 4, 4] and list(t.target) == ['a', 'a', 'b', 'b']
    assert sorted(len(volume_of(row).array) for _, row in t.iterrows()) == [3, 3, 4, 4]
    table = write_slices(t, tmp_path/'out', VolumePreprocessing(n=None, part=(0, 1), spacing=None, crop=False))
    assert len(read_table(table)) == 14 and set(read_table(table).group) == {'P0', 'P1'}

def test_slices_keep_their_numbers(tmp_path):
    for t in ('u1', 'u2', 'i2', 'f4'):
        (tmp_path/f'{t}.nii').write_bytes(nii(VOL.astype(t)))
        table = write_slices([tmp_path/f'{t}.nii'], tmp_path/t,
                             VolumePreprocessing(n=None, part=(0, 1), spacing=None, crop=False))
        images = [read_image(table.parent/r.split(',')[0]) for r in table.read_text().splitlines()[1:]]
        assert {(im.spacing, im.unit) for im in images} == {((.7, .5), 'mm')}
        got = np.stack([im.array for im in images])
        np.testing.assert_array_equal(got, VOL.astype(t)[:, ::-1]); assert got.dtype == t

def test_slices_of_a_hostile_name_stay_inside(tmp_path):
    d = tmp_path/'in'; d.mkdir(); (d/'.. x;y\n.nii').write_bytes(nii())
    write_slices([d/'.. x;y\n.nii'], tmp_path/'out', VolumePreprocessing(n=1, spacing=None, crop=False))
    assert sorted(p.name for p in tmp_path.iterdir()) == ['in', 'out']
    assert len(list((tmp_path/'out'/'images').iterdir())) == 1

def test_without_simpleitk_the_cure_is_named(tmp_path):
    (tmp_path/'v.nii').write_bytes(nii())
    code = "import sys; sys.modules['SimpleITK'] = None\nfrom cytokit.data.slices import *\ntry: cut_volume(sys.argv[1], VolumePreprocessing(bias_correction=True))\nexcept ValueError as e: print(e)"
    r = subprocess.run([sys.executable, '-c', code, str(tmp_path/'v.nii')], capture_output=True, text=True,
                       cwd=Path(__file__).parents[2])
    assert 'pip install "cytokit-nb[mri]"' in r.stdout and r.stdout.count('\n') == 1, r.stderr

def test_bias_correction_repeats_exactly(tmp_path):
    pytest.importorskip('SimpleITK')
    z, y, x = np.meshgrid(*[np.linspace(-1.2, 1.2, 32)]*3, indexing='ij')
    a = ((x*x + y*y + z*z < 1)*(500 + 200*(np.sin(7*x + 5*y) > 0))*np.exp(.5*x)).astype('u2')
    (tmp_path/'v.nii').write_bytes(nii(a, np.eye(4)))
    r = VolumePreprocessing(n=2, bias_correction=True)
    one, two = cut_volume(tmp_path/'v.nii', r), cut_volume(tmp_path/'v.nii', r)
    for p, q in zip(one, two): np.testing.assert_array_equal(p.array, q.array)

@pytest.mark.parametrize('shape', [(30, 40), (7, 1000), (1, 1), (333, 77)])
def test_crop_never_leaves_the_image(shape):
    for s in (.7, .1, 1/3, .572917):
        for pixel in ((s, s), (s, 3*s), (5*s, s)): assert (resize(np.ones(shape), 16, 'crop', pixel) > .999).all()

@pytest.mark.skipif(not SHARED.is_dir(), reason='../shared/data is not here')
def test_real_volumes():
    for f in sorted((SHARED/'open_ms_volumes').glob('*.nii.gz')):
        im = read_image(f)
        assert im.axes == 'ZYX' and im.array.dtype.kind == 'u' and im.spacing[0] > 2.9 and im.spacing[2] < .61
        s = cut_volume(im, VolumePreprocessing(n=3, spacing=2., size=110)) if '_gt' not in f.name else []
        assert all(x.array.shape == (110, 110) and x.array.max() > 200 and x.meta['patient'] == f.name[:9] for x in s)

def test_reading_needs_no_torch():
    r = subprocess.run([sys.executable, '-c', "import cytokit.data.preprocess, sys; print([m for m in ('torch', 'pandas', 'scipy', 'pydicom', 'nibabel', 'tifffile') if m in sys.modules])"], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert r.stdout.strip() == '[]', r.stdout + r.stderr

@pytest.mark.parametrize('a',
                         [G8, G16, RGB, RGBA, G8[:1, :1], pil(RGB, mode='P'), pil(G8 > 99), pil(RGBA, mode='LA'),
                          np.zeros((300, 400), 'u1')])
def test_png_is_unpacked_alike(a):
    from cytokit.data.formats import _unpacked
    raw = a if isinstance(a, bytes) else pil(a)
    at = raw.index(b'IDAT') - 4
    n, = struct.unpack_from('>I', raw, at)
    chunk = lambda kind, b: struct.pack('>I', len(b)) + kind + b + struct.pack('>I', zlib.crc32(kind + b))
    two = raw[:at] + chunk(b'IDAT', raw[at+8:at+13]) + chunk(b'IDAT', raw[at+13:at+8+n]) + chunk(b'tEXt', b'Comment\0IDAT') + raw[at+12+n:]
    for r in (raw, two):
        assert _unpacked(r) != r
        (x, y) = (P.open(io.BytesIO(b)) for b in (r, _unpacked(r)))
        assert (np.array(x) == np.array(y)).all() and x.info == y.info and x.text == y.text
    packed = raw[at+8:at+8+n]
    for bad in (packed[:-4] + b'\0\0\0\1', packed[:len(packed)//2], zlib.compress(zlib.decompress(packed) + b'more'),
                zlib.compress(zlib.decompress(packed)[:-1])):
        r = raw[:at] + chunk(b'IDAT', bad) + raw[at+12+n:]
        assert _unpacked(r) is r
    interlaced = raw[:28] + b'\1' + raw[29:]
    assert _unpacked(interlaced) is interlaced
    for cut in (20, at + 6, at + 10, len(raw) - 13): assert _unpacked(raw[:cut]) == raw[:cut]

def test_plain_png_as_pillow_reads_it(tmp_path, capfd):
    from cytokit.data.formats import _plain, _unpacked
    plain, file = lambda raw: _plain(_unpacked(raw), 2**28), tmp_path/'a.png'
    more = lambda kind, data, a=G8: (raw := pil(a))[:33] + chunk(kind, data) + raw[33:]
    size = b'\0\0\1\0'*2 + b'\1'
    for raw in (pil(G8), pil(G16), pil(RGB), more(b'pHYs', size, RGB)):
        np.testing.assert_array_equal(plain(raw)[0], np.array(P.open(io.BytesIO(raw))), strict=True)
    deep = np.dstack([G16, G16 + 1, G16 + 2, G16 + 3])
    for raw, pixels in ((pil(RGBA), RGBA[..., :3]), (pil(RGBA[..., :2]), RGBA[..., :1]), (png16(deep), deep[..., :3]),
                        (png16(deep[..., :2]), deep[..., :1])):
        np.testing.assert_array_equal(plain(raw)[0], pixels, strict=True)
        assert plain(raw)[-1] == dict(alpha=True)
    np.testing.assert_array_equal(plain(png16(deep[..., :3]))[0], deep[..., :3], strict=True)
    for raw in (pil(RGB, mode='P'), pil(G8 > 99), pil(G8, transparency=3), more(b'eXIf', b'II*\0'),
                more(b'tEXt', b'a\0b'), more(b'pHYs', size).replace(size, size[:-1] + b'\0')):
        assert plain(raw) is None
    head = pil(G8)[16:26]
    # packed in a way that does not exist, says its head
    file.write_bytes(pil(G8)[:8] + chunk(b'IHDR', head + b'\1\0\0') + pil(G8)[33:])
    np.testing.assert_array_equal(read_image(file).array, G8)
    rows = np.pad(G8, ((0, 0), (1, 0)), constant_values=5)  # a filter that does not exist
    for raw, fault in ((png_raw(30, 20, 8, 0, rows.tobytes()), 'broken'),
                       (png_raw(0, 20, 8, 0, b''), 'broken|no pixels')):
        file.write_bytes(raw)
        refused(file, fault)
    file.write_bytes(pil(RGB)); refused(file, 'more than max_pixels', max_pixels=RGB.size - 1)
    assert capfd.readouterr().err == ''

@pytest.mark.parametrize('size', (39, 40, 41))
def test_crop_keeps_the_shape_of_things(tmp_path, size):
    "Of pixels twice as high as wide, half the rows are as long as all columns, also at the size of the image."
    y, x = np.mgrid[:40, :40].astype('f4')
    for name, a, low, high in (('rows', y, 9.5, 29.5), ('columns', x, 0, 39)):
        (tmp_path/f'{name}.nii').write_bytes(nii(a[::-1], np.diag([1, 2, 1, 1.])))
        got = load(tmp_path/f'{name}.nii', Preprocessing(size, norm='dtype', resize_mode='crop'))
        assert abs(got.min() - low) < 1 and abs(got.max() - high) < 1, (name, got.min(), got.max())

def test_resampled_slices_keep_their_extent(tmp_path):
    a = R.integers(0, 3000, (5, 37, 53)).astype('i2')
    (tmp_path/'v.nii').write_bytes(nii(a, np.diag([.43, .61, 2, 1.])))
    for spacing in (.5, 1., 1.7, 30.):
        for s in cut_volume(tmp_path/'v.nii', VolumePreprocessing(n=1, spacing=spacing, crop=False)):
            np.testing.assert_allclose(np.multiply(s.spacing, s.array.shape), (37*.61, 53*.43))

def test_volume_made_in_memory():
    im = Image(VOL, 'ZYX', (3., .7, .5), 'mm')
    assert [s.meta['patient'] for s in cut_volume(im, VolumePreprocessing(n=2, crop=False))] == ['', '']
    for call in (lambda: cut_volume(Image(VOL, 'ZYX')), lambda: cut_volume(Image(G8, 'YX')), lambda: open_large(im),
                 lambda: load(im, Preprocessing(index=9))):
        with pytest.raises(InputError, match='^the image: '): call()
