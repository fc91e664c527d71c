"All metadata stands in settings.ini; this file reads it, and puts the lessons into the package."
import json, re, shutil
from configparser import ConfigParser
from pathlib import Path
from setuptools import find_packages, setup
from setuptools.command.build_py import build_py


class BuildWithLessons(build_py):
    "The lessons of nbs/lessons go into the wheel as cytokit/lessons, without their outputs."
    def run(self):
        super().run()
        if self.editable_mode: return
        folder = Path(self.build_lib)/'cytokit/lessons'
        shutil.rmtree(folder, ignore_errors=True)  # those of an earlier build
        folder.mkdir(parents=True)
        for path in sorted(Path('nbs/lessons').glob('*.ipynb')):
            lesson = json.loads(path.read_text(encoding='utf-8'))
            for cell in lesson['cells']:
                if cell['cell_type'] == 'code': cell.update(outputs=[], execution_count=None)
            text = json.dumps(lesson, indent=1, ensure_ascii=False)
            (folder/path.name).write_text(text + '\n', encoding='utf-8')


IMAGES = ('.png', '.jpg', '.gif', '.svg', '.webp')

def address(path, docs, repository, version):
    "Where a file of the repository is on the web: a notebook as a page of the docs, an image as it is."
    path, _, section = path.partition('#')
    section = f'#{section}' if section else ''
    if path.endswith('.ipynb'):
        *wing, name = Path(path).with_suffix('.html').relative_to('nbs').parts
        return docs + '/'.join([*wing, re.sub(r'^\d+_', '', name)]) + section
    if path.endswith(IMAGES):
        return repository.replace('//github.com/', '//raw.githubusercontent.com/') + f'/v{version}/{path}'
    return f'{repository}/blob/v{version}/{path}{section}'

def with_addresses(text, docs, repository, version):
    "Markdown whose links and images work outside the repository, as on the page of the package index."
    def absolute(found): return f']({address(found[1], docs, repository, version)})'
    return re.sub(r'\]\((?!\w+:|#)([^)\s]+)\)', absolute, text)


# Of `cytokit new project`; a name that begins with a dot needs a pattern that does so too
TEMPLATE = [f'teaching/project_template/{files}' for files in ('copier.yml', 'files/*', 'files/.*', 'files/tests/*')]

def main():
    cfg = ConfigParser(delimiters=['='], interpolation=None)
    cfg.read('settings.ini', encoding='utf-8')
    c = cfg['DEFAULT']
    lines = lambda key: [o for o in c[key].splitlines() if o.strip()]
    extras = dict(o.split(':', 1) for o in lines('extras'))
    readme = with_addresses(Path('README.md').read_text(encoding='utf-8'), c['doc_url'], c['git_url'], c['version'])
    setup(version=c['version'], author=c['author'], author_email=c['author_email'], license=c['license'],
          keywords=c['keywords'].split(), classifiers=lines('classifiers'), python_requires='>=' + c['min_python'],
          long_description=readme, long_description_content_type='text/markdown',
          packages=find_packages(include=['cytokit', 'cytokit.*']),
          package_data={'cytokit': ['*.pyi', 'py.typed', 'weights/*', 'teaching/*.js', 'teaching/*.css',
                                    'sharing/report_template.ipynb', *TEMPLATE]},
          cmdclass={'build_py': BuildWithLessons},
          install_requires=lines('requirements'), extras_require={k.strip(): v.split() for k, v in extras.items()},
          entry_points={'console_scripts': [c['console_scripts']], 'nbdev': ['cytokit=cytokit._modidx:d']})

if __name__ == '__main__': main()
