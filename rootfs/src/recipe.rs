//! What a stack consists of.

use crate::Error;
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// The recipes that are part of this program.
const EMBEDDED: [(&str, &str); 3] = [
    ("cupola", include_str!("../recipes/cupola.toml")),
    ("minimal", include_str!("../recipes/minimal.toml")),
    ("services", include_str!("../recipes/services.toml")),
];

/// What a stack consists of.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The recipe's own name.
    pub name: String,
    /// The stack that it makes: the name which apps ask for.
    pub stack: String,
    /// One line for people.
    pub description: String,
    /// The Debian release.
    pub suite: String,
    /// What mmdebstrap starts from.
    pub variant: Variant,
    /// Packages beyond the variant.
    pub packages: Vec<String>,
    /// Shell commands which must succeed in the finished tree.
    pub checks: Vec<String>,
    /// Room that the tree needs while it is built.
    pub tree_mib: u64,
    /// Room that the image needs.
    pub image_mib: u64,
    #[serde(skip)]
    text: String,
}

/// The set of packages that every recipe of this kind has, in mmdebstrap's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Variant {
    /// Essential packages alone.
    Essential,
    /// Essential packages and apt.
    Minbase,
}

impl Variant {
    /// As mmdebstrap spells it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Essential => "essential",
            Self::Minbase => "minbase",
        }
    }
}

impl Recipe {
    /// The recipe of this name, or the one that makes the stack of this name.
    pub fn named(name: &str) -> Result<Self, Error> {
        let mut all = Self::all()?.into_iter();
        all.find(|recipe| recipe.name == name || recipe.stack == name).ok_or_else(|| Error::UnknownRecipe {
            name: name.to_owned(),
            known: EMBEDDED.map(|(name, _)| name).join(", "),
        })
    }

    /// All recipes, the default one first.
    pub fn all() -> Result<Vec<Self>, Error> {
        EMBEDDED.iter().map(|(name, text)| Self::parse(name, text)).collect()
    }

    fn parse(name: &str, text: &str) -> Result<Self, Error> {
        let mut recipe: Self = toml::from_str(text)
            .map_err(|source| Error::Recipe { name: name.to_owned(), source: Box::new(source) })?;
        recipe.text = text.to_owned();
        Ok(recipe)
    }

    /// Digest of everything that decides what is built: the recipe and the build script.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(self.text.as_bytes());
        hash.update([0]);
        hash.update(crate::build::SCRIPT.as_bytes());
        hex::encode(hash.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_recipes_parse_and_carry_their_names() {
        for (recipe, (name, _)) in Recipe::all().unwrap().iter().zip(EMBEDDED) {
            assert_eq!(recipe.name, name);
            assert!(crate::store::check_name(&recipe.stack).is_ok(), "{}", recipe.stack);
            assert!(!recipe.checks.is_empty(), "{name} is not checked");
            assert!(recipe.image_mib <= recipe.tree_mib, "{name}");
        }
    }

    #[test]
    fn the_default_recipe_makes_the_default_stack() {
        assert_eq!(Recipe::all().unwrap()[0].stack, crate::DEFAULT_STACK);
        assert_eq!(Recipe::named(crate::DEFAULT_STACK).unwrap(), Recipe::named("cupola").unwrap());
    }

    #[test]
    fn an_unknown_recipe_is_refused_with_the_known_ones() {
        let error = Recipe::named("ubuntu").unwrap_err().to_string();
        assert!(error.contains("\"ubuntu\"") && error.contains("cupola, minimal, services"), "{error}");
    }

    #[test]
    fn every_change_of_a_recipe_changes_its_digest() {
        let cupola = Recipe::named("cupola").unwrap();
        let mut other = cupola.clone();
        other.text.push(' ');
        assert_ne!(cupola.digest(), other.digest());
        assert_eq!(cupola.digest(), Recipe::named("cupola").unwrap().digest());
    }
}
