"All metadata stands in settings.ini; this file reads it and nothing else."
from configparser import ConfigParser
from setuptools import find_packages, setup

cfg = ConfigParser(delimiters=['='], interpolation=None)
cfg.read('settings.ini', encoding='utf-8')
c = cfg['DEFAULT']
lines = lambda key: [o for o in c[key].splitlines() if o.strip()]
extras = dict(o.split(':', 1) for o in lines('extras'))

setup(version=c['version'], author=c['author'], author_email=c['author_email'], license=c['license'],
      keywords=c['keywords'].split(), classifiers=lines('classifiers'), python_requires='>=' + c['min_python'],
      long_description=open('README.md', encoding='utf-8').read(), long_description_content_type='text/markdown',
      packages=find_packages(include=['cytokit', 'cytokit.*']),
      package_data={'cytokit': ['*.pyi', 'py.typed', 'weights/*']},
      install_requires=lines('requirements'), extras_require={k.strip(): v.split() for k, v in extras.items()},
      entry_points={'console_scripts': [c['console_scripts']], 'nbdev': ['cytokit=cytokit._modidx:d']})
