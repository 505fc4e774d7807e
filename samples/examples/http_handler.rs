//! `cargo run -p samples --example http_handler`
//! An axum handler whose row and event are committed together, or not at all.
#![allow(clippy::print_stdout)]

use axum::extract::{Path, Request, State};
use axum::{Router, body::Body, http::StatusCode, routing::post};
use bus_core::{Message, error::BoxError, send::Sender};
use bus_inmemory::Harness;
use bus_sql::Sql;
use bus_sql::sqlx::{self, Sqlite, sqlite::SqlitePoolOptions};
use tower::ServiceExt;

#[derive(serde::Serialize, serde::Deserialize, Message)]
#[message("Sales:OrderPlaced")]
struct OrderPlaced {
    number: String,
}

type Shop = (Sql<Sqlite>, Sender);

async fn place(State((sql, sender)): State<Shop>, Path(number): Path<String>) -> StatusCode {
    let placed: Result<(), BoxError> = async {
        let mut unit = sql.begin(&sender).await?;
        let insert = sqlx::query("INSERT INTO orders (number) VALUES ($1)").bind(&number);
        insert.execute(unit.conn()).await?;
        unit.publish(&OrderPlaced { number }).await?; // a row of the same transaction
        Ok(unit.commit().await?) // an error, and any return before it, rolls both back
    }
    .await;
    placed.map_or(StatusCode::SERVICE_UNAVAILABLE, |()| StatusCode::CREATED)
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let pool = SqlitePoolOptions::new().max_connections(1);
    let pool = pool.connect("sqlite::memory:").await?;
    let table = sqlx::query("CREATE TABLE orders (number TEXT)");
    table.execute(&pool).await?;
    let sql = Sql::sqlite(pool);
    let harness = Harness::start(|bus| bus.background(sql.relay())).await?;
    let app = Router::new().route("/orders/{number}", post(place));
    let app = app.with_state((sql, harness.bus().sender()));

    // A service has axum::serve(listener, app) here; the example makes the one request itself.
    let answer = app.oneshot(Request::post("/orders/A-7").body(Body::empty())?);
    assert_eq!(answer.await?.status(), StatusCode::CREATED);
    let event = harness.published::<OrderPlaced>().wait().await?;
    println!("{} is placed and announced", event.message().number);
    Ok(harness.shutdown().await?)
}
