//! Pictures of machines.

use crate::order::order_saga;

#[test]
fn mermaid_shows_the_whole_machine() {
    let picture = "\
stateDiagram-v2
    [*] --> AwaitingPayment: OrderPlaced
    AwaitingPayment --> AwaitingShipment: OrderPaid
    AwaitingPayment --> [*]: PaymentOverdue
    AwaitingShipment --> [*]: OrderShipped
";
    assert_eq!(order_saga().mermaid(), picture);
}

#[test]
fn graphviz_shows_the_whole_machine() {
    let picture = "\
digraph \"order\" {
    rankdir=LR;
    node [shape=box, style=rounded];
    \"begin\" [shape=point];
    \"end\" [shape=doublecircle, label=\"\"];
    \"begin\" -> \"state AwaitingPayment\" [label=\"OrderPlaced\"];
    \"state AwaitingPayment\" -> \"state AwaitingShipment\" [label=\"OrderPaid\"];
    \"state AwaitingPayment\" -> \"end\" [label=\"PaymentOverdue\"];
    \"state AwaitingShipment\" -> \"end\" [label=\"OrderShipped\"];
    \"state AwaitingPayment\" [label=\"AwaitingPayment\"];
    \"state AwaitingShipment\" [label=\"AwaitingShipment\"];
}
";
    assert_eq!(order_saga().graphviz(), picture);
}
