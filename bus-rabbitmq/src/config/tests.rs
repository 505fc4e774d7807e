use super::*;

#[test]
fn addresses_are_read_in_all_their_forms() {
    for (address, base, vhost, user) in [
        ("amqp://localhost", "rabbitmq://localhost/", "/", "guest"),
        ("amqp://h:5673/", "rabbitmq://h:5673/", "/", "guest"),
        ("amqps://h", "rabbitmqs://h/", "/", "guest"),
        (
            "amqps://u:p@h:5671/team%2Fa",
            "rabbitmqs://h/team%2Fa/",
            "team/a",
            "u",
        ),
        ("rabbitmq://u@h1,h2:5673/v", "rabbitmq://h1/v/", "v", "u"),
        ("rabbitmq://u@h/team/", "rabbitmq://h/team/", "team", "u"),
        (
            "amqp://h/team%2F/",
            "rabbitmq://h/team%2F/",
            "team/",
            "guest",
        ),
        ("amqp://h/%2F/?heartbeat=5", "rabbitmq://h/", "/", "guest"),
        (
            "amqp://h/team%40home\n",
            "rabbitmq://h/team%40home/",
            "team@home",
            "guest",
        ),
        (
            " amqp://u:p@ h1 , h2:5673 /team \r\n",
            "rabbitmq://h1/team/",
            "team",
            "u",
        ),
        ("amqp://h?heartbeat=5", "rabbitmq://h/", "/", "guest"),
        (
            "amqp://[::1]:5673/%2f",
            "rabbitmq://[::1]:5673/",
            "/",
            "guest",
        ),
    ] {
        let config = Config::new(address);
        assert_eq!(config.mistakes(), [""; 0], "{address}");
        assert_eq!(config.base_address(), base);
        assert_eq!((config.vhost.as_str(), config.user.as_str()), (vhost, user));
        let again = Config::new(&config.base_address());
        assert_eq!(again.mistakes(), [""; 0], "{address}");
        assert_eq!(again.base_address(), base);
        assert_eq!(again.vhost, config.vhost);
    }
}

#[test]
fn blanks_around_hosts_are_no_part_of_them() {
    let config = Config::new("amqp://u:p@ h1 ,\th2:5673 , [::1]:5674\n");
    assert_eq!(config.mistakes(), [""; 0]);
    let hosts: Vec<_> = config.hosts.iter().map(ToString::to_string).collect();
    assert_eq!(hosts, ["h1:5672", "h2:5673", "[::1]:5674"]);
}

#[test]
fn a_password_that_is_not_encoded_is_a_mistake() {
    for address in [
        "amqp://dig:12/34s3cret@h:5672/team",
        "amqp://s3cret/ken@h",
        "amqp://guest:s3/cret@h",
        "amqp://guest:s3?cret@h/v",
        "amqp://u:1234/s3cret@h",
        "amqp://u:p@h?x=s3cret@other",
    ] {
        let mut config = Config::new(address);
        config.name = "test".to_owned();
        let mistakes = config.mistakes();
        assert_eq!(mistakes.len(), 1, "{address}: {mistakes:?}");
        assert!(
            mistakes[0].contains("percent-encode the password"),
            "{mistakes:?}"
        );
        let printed = format!("{mistakes:?} {config:?} {}", config.base_address());
        for part in ["s3", "cret", "1234", "12", "34", "ken", "dig", "other"] {
            assert!(!printed.contains(part), "{part} of {address}: {printed}");
        }
    }
}

#[test]
fn a_wrong_address_is_named_without_its_password() {
    for address in [
        "localhost",
        "http://u:s3cret@h",
        "amqp://u:s3cret@h:port",
        "amqp://u:s3cret@",
        "amqp://u:s3cret@[::1",
        "amqp://u:s3cret%ff@h",
        "amqp://u:s3cret@h?heartbeat=soon",
        "amqp://u:s3cret@h1,,h2",
        "amqp://u:s3cret@h1,h2, /v",
        "amqp://u:s3cret@h 1",
        "amqp://u:s3cret@[::1]s3cret",
        "u:s3cret://x@h",
    ] {
        let mistakes = Config::new(address).mistakes();
        assert_eq!(mistakes.len(), 1, "{address}");
        assert!(!mistakes[0].contains("s3cret"), "{mistakes:?}");
    }
}

#[test]
fn secrets_are_never_printed() {
    let config = Config::new("amqp://u:s3cret@h/v");
    let printed = format!("{config:?} {}", config.base_address());
    assert!(!printed.contains("s3cret"), "{printed}");
    assert_eq!(
        config.uri(&config.hosts[0]).authority.userinfo.password,
        "s3cret"
    );
}
