import os
import uuid

from firstcome_client import ApiClient, ApiException, Configuration, ParticipationsApi
from urllib3 import Retry

# Repeats after a lost connection, 408, 429 and 503, and waits as long as Retry-After says.
again = Retry(5, backoff_factor=0.1, status_forcelist=[408, 429, 503], allowed_methods=None, raise_on_status=False)
base = os.environ.get("BASE_URL", "http://127.0.0.1:8080")
shop = ParticipationsApi(ApiClient(Configuration(host=base, api_key={"user": "42"}, retries=again)))

try:
    place = shop.participate(int(os.environ["CAMPAIGN"]), idempotency_key=str(uuid.uuid4()))
    print(shop.confirm_participation(place.participation_id).status.value)
except ApiException as refused:
    if refused.data is None:
        raise
    print(refused.data.code, refused.data.detail)
