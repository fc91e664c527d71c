"README.md from nbs/index.ipynb: `python tests/cytokit_readme.py` writes it, a test compares."
from pathlib import Path
import re

ROOT = Path(__file__).resolve().parents[1]

def readme():
    from nbconvert import MarkdownExporter
    import nbformat
    nb = nbformat.read(ROOT/'nbs/index.ipynb', 4)
    nb.metadata.language_info = {'name': 'python'}
    nb.cells = [c for c in nb.cells if c.cell_type != 'raw' and not c.source.startswith('#| hide\n')]
    for c in nb.cells:
        if c.source.startswith('#| echo: false\n'):
            c.update(cell_type='markdown', source=c.outputs[0].data['text/markdown'])
        if c.cell_type == 'code': c.source = re.sub(r'^#\|.*\n', '', c.source, flags=re.M)
        if c.cell_type == 'markdown':
            c.source = re.sub(r'^:::.*\n?', '', c.source, flags=re.M)  # Quarto's boxes
            c.source = re.sub(r'\]\(((?!https?:)[\w/]+\.(ipynb|png))', r'](nbs/\1', c.source)
        for o in c.get('outputs', []): o.get('data', {}).pop('text/html', None)
    text, _ = MarkdownExporter().from_notebook_node(nb)
    return re.sub(r'\n{3,}', '\n\n', text).strip() + '\n'

if __name__ == '__main__': (ROOT/'README.md').write_text(readme(), encoding='utf-8')
