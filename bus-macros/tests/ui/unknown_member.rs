#[derive(serde::Serialize, serde::Deserialize, bus_core::Message)]
#[message("Invoicing:Created", correlation = "id")]
struct NoSuchMember {
    invoice_id: u32,
}

fn main() {}
