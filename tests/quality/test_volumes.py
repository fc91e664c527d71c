"Volumes as they come: real scans, TIFF stacks, DICOM series, broken files."
from pathlib import Path
import numpy as np, pytest, tifffile
from cytokit.quality.findings import COLUMNS
from cytokit.data.synthetic import make_mri, write_sample
from cytokit.quality.volumes import measure_volume, volume_findings

SHARED = Path(__file__).resolve().parents[3]/'shared'/'data'
shared = pytest.mark.skipif(not SHARED.is_dir(), reason=f'{SHARED} is not here')

@shared
def test_real_scans_are_left_alone():
    f = volume_findings(sorted((SHARED/'open_ms_volumes').glob('*.nii.gz')))
    assert list(f) == COLUMNS and not f.severity.isin(['error', 'warning']).any(), f.message.tolist()

@shared
def test_a_corrupted_slice_of_a_real_scan_is_found(tmp_path):
    import nibabel as nib
    n = nib.load(SHARED/'open_ms_volumes'/'patient03_study1_T2W.nii.gz'); a = np.asarray(n.dataobj)
    b = a.copy(); b[..., 20] = b[..., 19]; c = a.copy(); c[..., 25:] = c[..., 25:]//4*3; d = a.copy(); d[..., 12] = 0
    for k, v in dict(doubled=b, jump=c, missing=d).items():
        nib.save(nib.Nifti1Image(v, n.affine), tmp_path/f'{k}.nii.gz')
    f = volume_findings(sorted(tmp_path.iterdir()))
    f = f[f.severity != 'info']
    assert [(Path(x).stem, c, g) for x, c, g in zip(f.file, f['check'], f.group)] == [
        ('doubled.nii', 'volume_slice_doubled', 'slice 20'),
        ('missing.nii', 'volume_slice_missing', 'slice 12'),
        ('jump.nii', 'volume_jump', 'slice 25')]

def test_a_synthetic_set_and_other_formats(tmp_path):
    made = write_sample('mri', tmp_path/'mri', 6, volumes=True)
    assert not volume_findings(sorted(made.rglob('*.nii.gz'))).severity.isin(['error']).any()
    v = make_mri(0)[0]; v[10] = v[11]
    tifffile.imwrite(tmp_path/'stack.tif', v)
    assert set(volume_findings([tmp_path/'stack.tif'])['check']) == {'volume_slice_doubled'}

def series(folder, v, skip=()):
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid
    folder.mkdir(); uid = generate_uid()
    for i, s in enumerate(v):
        if i in skip: continue
        m = FileMetaDataset()
        m.TransferSyntaxUID, m.MediaStorageSOPClassUID = ExplicitVRLittleEndian, MRImageStorage
        m.MediaStorageSOPInstanceUID = generate_uid()
        d = FileDataset(None, {}, file_meta=m, preamble=b'\0'*128)
        d.SOPClassUID, d.SOPInstanceUID = MRImageStorage, m.MediaStorageSOPInstanceUID
        d.SeriesInstanceUID, d.Modality = uid, 'MR'
        d.Rows, d.Columns, d.SamplesPerPixel, d.PhotometricInterpretation = *s.shape, 1, 'MONOCHROME2'
        d.BitsAllocated = d.BitsStored = 16; d.HighBit, d.PixelRepresentation = 15, 0
        d.PixelSpacing, d.SliceThickness = [1, 1], 3
        d.ImagePositionPatient, d.ImageOrientationPatient = [0, 0, 3*i], [1, 0, 0, 0, 1, 0]
        d.PixelData = s.tobytes(); d.save_as(folder/f'{i:03}.dcm', enforce_file_format=True)
    return folder

def test_a_series_with_a_missing_slice(tmp_path):
    v = make_mri(0, size=64)[0]
    assert not volume_findings([series(tmp_path/'whole', v)]).severity.isin(['error', 'warning']).any()
    f = volume_findings([series(tmp_path/'gap', v, skip=[9])])
    assert list(f['check']) == ['volume_unreadable'] and 'missing' in f.message[0]

@pytest.mark.parametrize('v',
                         [np.zeros((5, 40, 40), 'u1'), np.ones((5, 40, 40), 'f4')*np.nan,
                          np.random.default_rng(0).normal(size=(5, 40, 40)).astype('f4'),
                          np.arange(40*40, dtype='u2').reshape(40, 40),
                          (np.indices((6, 40, 40))[2] > 20).astype('u1'),
                          np.random.default_rng(0).integers(0, 60000, (2, 9, 9)).astype('u2')])
def test_odd_volumes_do_not_stop_it(tmp_path, v):
    tifffile.imwrite(tmp_path/'v.tif', v, photometric='minisblack')
    row = measure_volume(tmp_path/'v.tif')
    assert row['error'] == ''; volume_findings([tmp_path/'v.tif', tmp_path/'no.tif'])
