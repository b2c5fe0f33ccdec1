"""The addresses of the pages: each part has its own list."""

from starlette.routing import Route

from sporeprint.model_serving.ui.ab_labelling import LABEL_PAGES
from sporeprint.model_serving.ui.ab_planning import PLAN_PAGES
from sporeprint.model_serving.ui.ab_tests import AB_TEST_PAGES
from sporeprint.model_serving.ui.administration import ADMINISTRATION_PAGES
from sporeprint.model_serving.ui.alerts import ALERT_PAGES
from sporeprint.model_serving.ui.batches import BATCH_PAGES
from sporeprint.model_serving.ui.identify import IDENTIFY_PAGES
from sporeprint.model_serving.ui.login import LOGIN_PAGES, AssetEndpoint, missing
from sporeprint.model_serving.ui.models import MODEL_PAGES
from sporeprint.model_serving.ui.monitoring import MONITORING_PAGES
from sporeprint.model_serving.ui.overview import OVERVIEW_PAGES
from sporeprint.model_serving.ui.page_endpoint import pages
from sporeprint.model_serving.ui.predictions import PREDICTION_PAGES
from sporeprint.model_serving.ui.promotion import PROMOTION_PAGES
from sporeprint.model_serving.ui.runs import RUN_PAGES

UI_ROUTES: tuple[Route, ...] = (
    Route("/ui/assets/{digest}/{name}", AssetEndpoint(), methods=["GET"], name="ui_asset", include_in_schema=False),
    *pages(OVERVIEW_PAGES),
    *pages(IDENTIFY_PAGES),
    *pages(PREDICTION_PAGES),
    *pages(BATCH_PAGES),
    *pages(MODEL_PAGES),
    *pages(PLAN_PAGES),
    *pages(LABEL_PAGES),
    *pages(AB_TEST_PAGES),
    *pages(PROMOTION_PAGES),
    *pages(MONITORING_PAGES),
    *pages(ALERT_PAGES),
    *pages(RUN_PAGES),
    *pages(ADMINISTRATION_PAGES),
    *pages(LOGIN_PAGES),
    *pages([("ui_missing", "GET", "/{path:path}", missing)]),
)
