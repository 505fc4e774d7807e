#[derive(serde::Serialize, serde::Deserialize, bus_core::Message)]
#[message("Invoicing:Changed[[Invoicing:Price]]")]
struct Changed<T> {
    after: T,
}

fn main() {}
