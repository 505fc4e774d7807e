#[derive(serde::Serialize, serde::Deserialize, bus_core::Message)]
#[message("Invoicing:Created")]
struct Borrowed<'a> {
    number: &'a str,
}

fn main() {}
