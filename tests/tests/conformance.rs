//! Every behaviour on every transport.

bus_conformance::conformance!(in_memory, bus_tests::InMemoryStage::new());
bus_conformance::conformance!(
    rabbitmq,
    bus_tests::RabbitMqStage::at(bus_tests::Broker::shared().await.url()).await
);

/// A behaviour that no list names would never run.
#[test]
fn every_behaviour_is_listed() {
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../bus-conformance/src");
    let read = |path: &std::path::Path| std::fs::read_to_string(path).unwrap();
    let lists = read(&source.join("run.rs"));
    let themes: Vec<_> = std::fs::read_dir(source.join("suite"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_stem().is_some_and(|theme| theme != "mod"))
        .collect();
    assert!(themes.len() > 10, "{themes:?}");
    for theme in themes {
        let name = theme.file_stem().unwrap().to_string_lossy().into_owned();
        let (_, list) = lists.split_once(&format!("{name} {{")).expect(&name);
        let listed: Vec<_> = list
            .split('}')
            .next()
            .unwrap()
            .split([',', '\n'])
            .map(str::trim)
            .collect();
        for line in read(&theme)
            .lines()
            .filter_map(|line| line.strip_prefix("pub async fn "))
        {
            let behaviour = line.split('(').next().unwrap();
            assert!(
                listed.contains(&behaviour),
                "{name}::{behaviour} is not listed"
            );
        }
    }
}
