use polymorph_core::topology::context::Context;
use polymorph_core::topology::event::Event;
use polymorph_core::topology::model::Claims;

use super::*;
use crate::setting::Knob;

/// Somebody else's topology, which stands on another one.
struct Loud;

#[derive(Clone, Debug, Default)]
struct Volume {
    volume: u32,
}

impl Topology for Loud {
    type Address = ();
    type Message = ();
    type Timer = ();
    fn handle(&mut self, _: Event<Self>, _: &mut Context<'_, Self>) {}
}

impl Model for Loud {
    type Config = Volume;
    fn new(_: &Volume, _: Place) -> Self {
        Self
    }
    fn claims(_: &Volume, _: usize) -> Claims {
        Claims::default()
    }
}

impl Configure for Volume {
    fn table() -> Vec<Knob<Self>> {
        vec![Knob::number("volume", "0", "how loud it is", 0..=11, |config| &mut config.volume)]
    }
}

fn place() -> Place {
    Place { overlay: OverlayId([1; 32]), me: Guid([2; 32]) }
}

fn build(name: &str, settings: &[(&str, &str)]) -> Result<Built, CatalogError> {
    let mut catalog = Catalog::standard();
    catalog.register(Entry::on_base::<Loud>("loud", Family::Tree, "-", "chord")).unwrap();
    catalog.register(Entry::of::<Loud>("plain", Family::Tree, "-")).unwrap();
    catalog.build(name, settings, place())
}

fn refusal(name: &str, settings: &[(&str, &str)]) -> String {
    build(name, settings).unwrap_err().to_string()
}

#[test]
fn whatever_is_listed_can_be_built_with_its_defaults_written_out() {
    let catalog = Catalog::standard();
    assert!(catalog.entries().len() >= 3);
    for entry in catalog.entries() {
        let defaults: Vec<_> = entry.settings().iter().map(|setting| (setting.key, setting.default)).collect();
        let written: Vec<_> = defaults.into_iter().filter(|(_, default)| *default != "as the base").collect();
        let built = catalog.build(entry.name, &written, place()).unwrap();
        let bare = catalog.build::<&str, &str>(entry.name, &[], place()).unwrap();
        assert_eq!(built.settings, bare.settings, "{}", entry.name);
    }
}

#[test]
fn a_misspelled_name_is_refused_with_the_nearest_there_is() {
    assert_eq!(refusal("cord", &[]), "there is no topology \"cord\"; did you mean chord?");
    assert_eq!(refusal("kademila", &[]), "there is no topology \"kademila\"; did you mean kademlia?");
    let empty = Catalog::new().build::<&str, &str>("chord", &[], place()).unwrap_err();
    assert_eq!(empty.to_string(), "there is no topology \"chord\"");
}

#[test]
fn a_misspelled_setting_is_refused_with_the_nearest_there_is() {
    assert_eq!(refusal("chord", &[("succesors", "8")]), "chord has no setting \"succesors\"; did you mean successors?");
    assert_eq!(refusal("kademlia", &[("alhpa", "3")]), "kademlia has no setting \"alhpa\"; did you mean alpha?");
    assert_eq!(refusal("plain", &[("lookup", "semi")]), "plain has no setting \"lookup\"; did you mean volume?");
    assert_eq!(refusal("loud", &[("bass", "chord")]), "loud has no setting \"bass\"; did you mean base?");
    assert_eq!(refusal("loud", &[("fingres", "8")]), "loud has no setting \"fingres\"; did you mean fingers?");
}

#[test]
fn a_value_that_will_not_do_is_refused_with_what_would() {
    let refused = refusal("chord", &[("successors", "0")]);
    assert_eq!(refused, "successors=0 is no good: successors is a number from 1 to 64");
    let refused = refusal("kademlia", &[("lookup", "guess")]);
    assert_eq!(refused, "lookup=guess is no good: lookup is recursive or iterative or semi");
}

#[test]
fn lookups_go_as_their_topology_likes_best_unless_told_otherwise() {
    let lookup = |name, settings: &[(&str, &str)]| build(name, settings).unwrap().settings.lookup;
    assert_eq!(lookup("chord", &[]), Lookup::Recursive);
    assert_eq!(lookup("kademlia", &[]), Lookup::Iterative);
    assert_eq!(lookup("loud", &[]), Lookup::Recursive);
    assert_eq!(lookup("loud", &[("base", "kademlia")]), Lookup::Iterative);
    assert_eq!(lookup("loud", &[("base", "kademlia"), ("lookup", "semi")]), Lookup::Semi);
    let settings = build("kademlia", &[("alpha", "5"), ("disjoint", "4")]).unwrap().settings;
    assert_eq!((settings.alpha, settings.disjoint), (5, 4));
}

#[test]
fn a_layered_topology_takes_its_own_settings_and_its_bases() {
    let built = build("loud", &[("k", "7"), ("volume", "11"), ("base", "kademlia")]).unwrap();
    assert_eq!(built.topology.breadth(), 7);
    assert!(built.topology.powers().routes);
    assert!(refusal("loud", &[("volume", "12")]).contains("0 to 11"));
    let refused = refusal("loud", &[("k", "7")]);
    assert!(refused.contains("no setting \"k\""), "chord has no k: {refused}");
}

#[test]
fn a_base_must_route_and_stand_on_its_own() {
    assert!(refusal("loud", &[("base", "plain")]).contains("cannot stand on plain"));
    assert!(refusal("loud", &[("base", "loud")]).contains("cannot stand on loud"));
    assert!(refusal("loud", &[("base", "cord")]).contains("did you mean chord"));
}

#[test]
fn a_name_is_taken_once() {
    let mut catalog = Catalog::standard();
    let twice = catalog.register(Entry::of::<Loud>("chord", Family::Ring, "-"));
    assert_eq!(twice, Err(CatalogError::Twice("chord".into())));
}

#[test]
fn a_name_and_settings_turn_into_a_type_as_they_turn_into_a_value() {
    struct Degree;
    impl typed::Visitor for Degree {
        type Output = (Option<usize>, Lookup);
        fn visit<T: Model>(self, config: T::Config, overlay: Overlay) -> Self::Output {
            (T::claims(&config, 100).degree, overlay.lookup)
        }
    }
    let visit = |name, settings: &[(&str, &str)]| typed::visit(name, settings, Degree).map_err(|e| e.to_string());
    assert_eq!(visit("chord", &[]), Ok((Some(2), Lookup::Recursive)));
    assert_eq!(visit("kademlia", &[("lookup", "recursive")]), Ok((Some(0), Lookup::Recursive)));
    assert_eq!(visit("cord", &[]), Err("there is no topology \"cord\"; did you mean chord?".into()));
    assert_eq!(
        visit("chord", &[("finger", "3")]),
        Err("chord has no setting \"finger\"; did you mean fingers?".into())
    );
    assert_eq!(visit("scribe", &[]), Ok((Some(26), Lookup::Recursive)));
    assert_eq!(visit("scribe", &[("base", "kademlia"), ("k", "3")]), Ok((Some(24), Lookup::Iterative)));
    assert_eq!(visit("scribe", &[("bass", "-")]), Err("scribe has no setting \"bass\"; did you mean base?".into()));
    assert!(visit("scribe", &[("base", "hyparview-plumtree")]).is_err_and(|e| e.contains("cannot stand on")));
    for entry in Catalog::standard().entries() {
        assert!(typed::visit::<&str, &str, _>(entry.name, &[], Degree).is_ok(), "{}", entry.name);
    }
}
