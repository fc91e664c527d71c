"Say on each page of a release's site that it is not the newest: python .ci/mark_version.py FOLDER VERSION"
import re, sys
from pathlib import Path

STYLE = 'background:#fff3cd;color:#3a2e00;padding:.5rem 1rem;margin:0;text-align:center'
NOTE = ('<p role="note" style="{style}">These are the pages of version {version}. '
        '<a style="color:#00416a" href="{start}">Go to the newest</a></p>')

folder, version = Path(sys.argv[1]), sys.argv[2]
for page in folder.rglob('*.html'):
    start = '../'*len(page.relative_to(folder).parts) + 'index.html'
    note = NOTE.format(style=STYLE, version=version, start=start)
    text = page.read_text(encoding='utf-8')
    page.write_text(re.sub('<body[^>]*>', lambda body: body[0] + note, text, count=1), encoding='utf-8')
