//! The OpenAPI document, and a page that renders it. The page's scripts and styles are part of the
//! binary, and its policy keeps the browser from asking any other host.

use std::sync::{Arc, LazyLock};

use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderName, StatusCode, header},
    response::{IntoResponse, Response},
};
use utoipa_swagger_ui::Config;

use crate::{Gateway, problem::Problem};

/// Allows what comes from here, and what Swagger UI needs besides: styles set by scripts, and images in data URLs.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

// The validator would be an image from another host.
static CONFIG: LazyLock<Arc<Config<'static>>> =
    LazyLock::new(|| Arc::new(Config::from("/openapi.json").validator_url("none")));

/// The OpenAPI document of this API
#[utoipa::path(
    get, path = "/openapi.json", tag = "service", security(()),
    responses((status = 200, description = "OpenAPI 3.1", body = Object))
)]
pub(crate) async fn get_openapi(State(gateway): State<Gateway>) -> Response {
    Json(&*gateway.openapi).into_response()
}

pub(crate) async fn get_docs(path: Option<Path<String>>) -> Result<Response, Problem> {
    let path = path.map_or_else(String::new, |Path(path)| path);
    match utoipa_swagger_ui::serve(&path, CONFIG.clone()) {
        Ok(Some(file)) => {
            let headers: [(HeaderName, &str); 2] = [
                (header::CONTENT_TYPE, file.content_type.as_str()),
                (header::CONTENT_SECURITY_POLICY, POLICY),
            ];
            Ok((headers, file.bytes.into_owned()).into_response())
        }
        Ok(None) => Err(Problem::not_found("page")),
        Err(_) => Ok(StatusCode::INTERNAL_SERVER_ERROR.into_response()),
    }
}
