//! Events that are raised after the last of several.

use bus_core::Message;
use bus_saga::{Event, Saga, SagaState, StateMachine, Trial, Unexpected, by};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

#[derive(Serialize, Deserialize, Message)]
#[message("Trips:Booked")]
struct Booked {
    trip: Uuid,
}

#[derive(Serialize, Deserialize, Message)]
#[message("Trips:FlightFound")]
struct FlightFound {
    trip: Uuid,
}

#[derive(Serialize, Deserialize, Message)]
#[message("Trips:RoomFound")]
struct RoomFound {
    trip: Uuid,
}

#[derive(Serialize, Deserialize, Message)]
#[message("Trips:Ready")]
struct Ready {
    found: u32,
}

#[derive(Default, Serialize, Deserialize)]
struct Trip {
    found: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, SagaState)]
enum Plan {
    Looking,
    Complete,
}

impl Saga for Trip {
    type State = Plan;
    const NAME: &'static str = "trip";
}

struct Declared {
    saga: StateMachine<Trip>,
    flight: Event<Trip, FlightFound>,
    room: Event<Trip, RoomFound>,
    all: Event<Trip, ()>,
}

/// The composite event is declared before its reactions, or after them.
fn declared() -> Declared {
    let mut saga = StateMachine::<Trip>::new();
    let booked = saga.event(by::id(|it: &Booked| it.trip));
    let flight = saga.event(by::id(|it: &FlightFound| it.trip));
    let room = saga.event(by::id(|it: &RoomFound| it.trip));
    let all = saga.all_of("everything found", [flight.any(), room.any()]);
    saga.initially(booked, |on| on.go(Plan::Looking))
        .unexpected(Unexpected::Ignore)
        .rests_in(Plan::Complete);
    Declared {
        saga,
        flight,
        room,
        all,
    }
}

fn trips() -> Trial<Trip> {
    let Declared {
        mut saga,
        flight,
        room,
        all,
    } = declared();
    saga.during(Plan::Looking, all, |on| {
        on.publish(|trip, ()| Ready { found: trip.found })
            .go(Plan::Complete)
    })
    .during(Plan::Looking, flight, |on| {
        on.set(|trip, _| trip.found += 1).stay()
    })
    .during(Plan::Looking, room, |on| {
        on.set(|trip, _| trip.found += 1).stay()
    });
    assert_eq!(saga.mistakes(), Vec::<String>::new());
    saga.trial()
}

#[test]
fn it_is_raised_once_after_the_last_in_any_order() {
    for flight_is_first in [true, false] {
        let mut trips = trips();
        let trip = Uuid::now_v7();
        trips.on(&Booked { trip }).unwrap();
        let mut ready = Vec::new();
        for is_flight in [
            flight_is_first,
            flight_is_first,
            !flight_is_first,
            flight_is_first,
        ] {
            let effects = if is_flight {
                trips.on(&FlightFound { trip })
            } else {
                trips.on(&RoomFound { trip })
            };
            let effects = effects.unwrap();
            ready.push(effects.published::<Ready>().first().map(|it| it.found));
        }
        assert_eq!(ready, [None, None, Some(3), None]);
        assert_eq!(trips.state(trip), Some(Plan::Complete));
    }
}

#[test]
fn it_waits_for_a_state_that_reacts_to_it() {
    let Declared {
        mut saga,
        flight,
        room,
        all,
    } = declared();
    // Both are ignored while the trip is looked for, and count all the same.
    saga.during(Plan::Complete, all, |on| {
        on.publish(|trip, ()| Ready { found: trip.found }).stay()
    })
    .ignore(Plan::ALL, [flight.any(), room.any()]);
    let again = saga.event(by::id(|it: &Ready| Uuid::from_u128(it.found.into())));
    saga.during(Plan::Looking, again, |on| on.go(Plan::Complete));
    let mut trips = saga.trial();
    let trip = Uuid::from_u128(7);
    trips.on(&Booked { trip }).unwrap();
    trips.on(&FlightFound { trip }).unwrap();
    let effects = trips.on(&RoomFound { trip }).unwrap();
    assert!(effects.is_empty(), "the state does not react");
    let effects = trips.on(&Ready { found: 7 }).unwrap();
    assert_eq!(effects.published::<Ready>().len(), 1);
}
