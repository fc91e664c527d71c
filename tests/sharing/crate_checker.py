"roc-validator without network: the context of RO-Crate 1.3 is taken from the package rocrate, which ships it."
import io
from pathlib import Path
import requests, rocrate
from requests_cache import CachedSession
from rocrate_validator import models, services
from urllib3 import HTTPResponse

CONTEXT = 'https://w3id.org/ro/crate/1.3/context'

def fill_cache(cache):
    "Put the official context where the validator looks for what it fetched before."
    content = (Path(rocrate.__file__).parent/'data/ro-crate.jsonld').read_bytes()
    answer = requests.Response()
    answer.status_code, answer._content, answer.url = 200, content, CONTEXT
    answer.headers['Content-Type'] = 'application/ld+json'
    answer.request = requests.Request('GET', CONTEXT).prepare()
    answer.raw = HTTPResponse(io.BytesIO(content), dict(answer.headers), 200, preload_content=False, request_url=CONTEXT)
    session = CachedSession(cache_name=str(cache), backend='sqlite', expire_after=-1)
    session.cache.save_response(answer, cache_key=session.cache.create_key(answer.request))
    session.close()

def crate_issues(folder, cache, severity):
    "(number of the check, message) of each issue of at least this severity."
    settings = services.ValidationSettings(
        rocrate_uri=models.URI(str(folder)), profile_identifier='ro-crate-1.3', offline=True, cache_path=Path(cache),
        requirement_severity=models.Severity[severity])
    return [(issue.check.identifier, issue.message) for issue in services.validate(settings).get_issues()]
