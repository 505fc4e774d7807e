//! `cargo run -p samples --example routing_slip`
//! Books a journey in steps, and cancels the first two as the third one fails.
#![allow(clippy::print_stdout)]

use bus_core::{ConsumeResult, Endpoint};
use bus_courier::{ActivityEndpoint, Compensate, CompensateActivity, Compensated, Courier};
use bus_courier::{Execute, ExecuteActivity, Executed, RoutingSlip};
use bus_courier::{compensate, execute_compensated};
use bus_inmemory::Harness;

type Booking = std::collections::BTreeMap<String, String>; // or a struct

struct Book;

impl ExecuteActivity for Book {
    type Arguments = Booking;
    type Log = Booking; // what is needed to undo it

    async fn execute(&self, ctx: Execute<Booking>) -> ConsumeResult<Executed<Booking>> {
        if ctx.arguments()["what"] == "car" {
            return Err("no car is left".into());
        }
        println!("booked the {}", ctx.arguments()["what"]);
        Ok(Executed::with_log(ctx.arguments().clone()))
    }
}

impl CompensateActivity for Book {
    type Log = Booking;

    async fn compensate(&self, ctx: Compensate<Booking>) -> ConsumeResult<Compensated> {
        println!("cancelled the {}", ctx.log()["what"]);
        Ok(Compensated::done())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let book = Endpoint::new("book").activity(execute_compensated(Book, "cancel"));
    let cancel = Endpoint::new("cancel").activity(compensate(Book));
    let harness = Harness::start(|bus| bus.endpoint(book).endpoint(cancel)).await?;
    let booking = |what: &str| Booking::from([("what".to_owned(), what.to_owned())]);
    let slip = RoutingSlip::builder()
        .activity("Flight", "queue:book", &booking("flight"))
        .activity("Hotel", "queue:book", &booking("hotel"))
        .activity("Car", "queue:book", &booking("car"));
    harness.bus().execute(&slip.build()?).await?;
    harness.quiescent().await;
    Ok(harness.shutdown().await?)
}
