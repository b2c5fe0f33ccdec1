"""The addresses of the pages."""

from starlette.routing import Route

from sporeprint.model_serving.ui.identify import ask, show_identify
from sporeprint.model_serving.ui.login import AssetEndpoint, choose_language, log_in, log_out, missing, show_login
from sporeprint.model_serving.ui.models import promote_version, roll_back_version, show_models
from sporeprint.model_serving.ui.overview import go_to_overview, show_overview
from sporeprint.model_serving.ui.page_endpoint import pages
from sporeprint.model_serving.ui.predictions import enter_outcome, find, show_prediction

UI_ROUTES: tuple[Route, ...] = (
    Route("/ui/assets/{digest}/{name}", AssetEndpoint(), methods=["GET"], name="ui_asset", include_in_schema=False),
    *pages(
        (
            ("ui_root", "GET", "", go_to_overview),
            ("ui_overview", "GET", "/", show_overview),
            ("ui_identify", "GET", "/identify", show_identify),
            ("ui_ask", "POST", "/identify", ask),
            ("ui_predictions", "GET", "/predictions", find),
            ("ui_prediction", "GET", "/predictions/{prediction_id}", show_prediction),
            ("ui_outcome", "POST", "/predictions/{prediction_id}", enter_outcome),
            ("ui_models", "GET", "/models", show_models),
            ("ui_promote", "POST", "/models/promote", promote_version),
            ("ui_rollback", "POST", "/models/rollback", roll_back_version),
            ("ui_login", "GET", "/login", show_login),
            ("ui_log_in", "POST", "/login", log_in),
            ("ui_log_out", "POST", "/logout", log_out),
            ("ui_language", "POST", "/language", choose_language),
            ("ui_missing", "GET", "/{path:path}", missing),
        )
    ),
)
