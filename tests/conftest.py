"Tests keep their own cache."
import atexit, os, shutil, tempfile
os.environ['CYTOKIT_CACHE'] = tempfile.mkdtemp(prefix='cytokit-cache-')
atexit.register(shutil.rmtree, os.environ['CYTOKIT_CACHE'], ignore_errors=True)
