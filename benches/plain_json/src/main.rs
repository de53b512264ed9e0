//! What the framework alone does: every GET is answered with one JSON object, written anew each time, and
//! every POST with 201 and that object once its body was read as JSON.
//!
//! `plain_json ADDRESS JSON`

use std::error::Error;

use poem::http::StatusCode;
use poem::listener::TcpListener;
use poem::web::{Data, Json};
use poem::{EndpointExt, Route, Server, get, handler, post};
use serde_json::Value;

#[handler]
fn answer(Data(object): Data<&Value>) -> Json<Value> {
    Json(object.clone())
}

#[handler]
fn taken(Json(_): Json<Value>, Data(object): Data<&Value>) -> (StatusCode, Json<Value>) {
    (StatusCode::CREATED, Json(object.clone()))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().ok_or("an address is missing")?;
    let object: Value = serde_json::from_str(&arguments.next().ok_or("an object is missing")?)?;
    let app = Route::new()
        .at("/api/campaigns/:id", get(answer))
        .at("/api/campaigns/:id/participation", post(taken))
        .data(object);
    Server::new(TcpListener::bind(address)).run(app).await?;
    Ok(())
}
