//! From a recipe, a file and the command line to one configuration.
//!
//! Layers, each over the one before: the recipe, the file of `--config`, then `--method`, `--seed`,
//! `--epochs`, … and every `--set` in the order given.

use std::collections::HashMap;
use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use lfnn_core::config::ConfigError;
use serde::de::{Deserialize, DeserializeOwned, IgnoredAny};
use serde_json::Value as Json;

use super::diagnostic::ConfigDiagnostic;
use super::node::{Location, Node, Source, Value};
use super::{RunConfig, diagnostic, yaml};
use crate::failure::{Failure, Usage};
use crate::{files, recipes};

/// What the command line says about the configuration.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request<'a> {
    /// The recipe.
    pub(crate) recipe: Option<&'a str>,
    /// A file.
    pub(crate) file: Option<&'a Path>,
    /// Options with a key of their own: the option as typed, the key, the value.
    pub(crate) options: Vec<(String, &'static str, String)>,
    /// `KEY=VALUE`.
    pub(crate) sets: &'a [String],
}

/// An option with a key of its own, for a [`Request`], if it was given.
pub(crate) fn option(
    name: &str,
    key: &'static str,
    value: Option<impl Display>,
) -> Option<(String, &'static str, String)> {
    value.map(|value| (format!("--{name} {value}"), key, value.to_string()))
}

/// The recipe that is trained if none is named.
const DEFAULT_RECIPE: &str = "digits";

/// The configuration of a new run.
///
/// # Errors
/// A recipe that is not there, a file that cannot be read, or anything wrong in them.
pub(crate) fn resolve(request: &Request<'_>) -> Result<RunConfig, Failure> {
    resolve_on(DEFAULT_RECIPE, request)
}

/// The same with another recipe on which it builds if neither the command line nor the file names one, and the file
/// has no network of its own.
///
/// # Errors
/// See [`resolve`].
pub(crate) fn resolve_on(default: &str, request: &Request<'_>) -> Result<RunConfig, Failure> {
    let over = request.file.map(read_file).transpose()?;
    let named = over.as_ref().and_then(|tree| tree.get("recipe")).and_then(Node::text);
    let whole = over.as_ref().is_some_and(|tree| tree.get("network").is_some());
    let recipe = match (request.recipe, named) {
        (Some(recipe), _) => Some(recipe.to_owned()),
        // A file with a network of its own may call itself what it likes.
        (None, Some(name)) if !whole || recipes::text(name).is_some() => Some(name.to_owned()),
        (None, None) if !whole => Some(default.to_owned()),
        _ => None,
    };
    let mut tree = match &recipe {
        Some(name) => recipe_tree(name)?,
        None => Node::empty_map(Location::start(Source::File("configuration".into()), 0)),
    };
    if let Some(over) = over {
        tree.overlay(over);
    }
    if tree.get("recipe").is_none_or(Node::is_null) {
        let stem = request.file.and_then(Path::file_stem).map(|stem| stem.display().to_string());
        if let Some(label) = recipe.clone().or(stem) {
            let node = text_node(label, tree.place.clone());
            tree.set(&["recipe"], node).map_err(|message| anyhow!(message)).usage()?;
        }
    }
    if let Some(recipe) = request.recipe {
        let node = text_node(recipe.to_owned(), tree.place.clone());
        tree.set(&["recipe"], node).map_err(|message| anyhow!(message)).usage()?;
    }
    finish(tree, request)
}

/// The configuration that a run was made with.
///
/// # Errors
/// A file that cannot be read, or anything wrong in it.
#[cfg(feature = "report")]
pub(crate) fn read_saved(path: &Path) -> Result<RunConfig, Failure> {
    finish(read_file(path)?, &Request::default())
}

/// The configuration that a run to be resumed was made with, and the same with the command line over it.
///
/// # Errors
/// A file that cannot be read, or anything wrong in it or in the command line.
pub(crate) fn resume(
    path: &Path,
    request: &Request<'_>,
) -> Result<(RunConfig, RunConfig), Failure> {
    let mut tree = read_file(path)?;
    let saved = finish(tree.clone(), &Request::default())?;
    if let Some(file) = request.file {
        tree.overlay(read_file(file)?);
    }
    if let Some(recipe) = request.recipe {
        let node = text_node(recipe.to_owned(), tree.place.clone());
        tree.set(&["recipe"], node).map_err(|message| anyhow!(message)).usage()?;
    }
    Ok((saved, finish(tree, request)?))
}

/// Lays the command line over a tree and gives it types.
fn finish(mut tree: Node, request: &Request<'_>) -> Result<RunConfig, Failure> {
    let options = request
        .options
        .iter()
        .map(|(typed, key, value)| (typed.clone(), (*key).to_owned(), value.clone()));
    let mut all: Vec<(String, String, String)> = options.collect();
    for set in request.sets {
        let (key, value) = set
            .split_once('=')
            .filter(|(key, _)| !key.trim().is_empty())
            .with_context(|| format!("--set {set}: expected KEY=VALUE"))
            .usage()?;
        all.push((format!("--set {set}"), key.trim().to_owned(), value.to_owned()));
    }
    for (layer, (typed, key, value)) in (2..).zip(all) {
        let source = Arc::new(Source::Option(typed.clone()));
        let node = yaml::parse(&value, &source, layer).map_err(anyhow::Error::from).usage()?;
        let path: Vec<&str> = key.split('.').collect();
        if path.len() > yaml::MAX_DEPTH {
            let message =
                format!("a key of {} parts, expected at most {}", path.len(), yaml::MAX_DEPTH);
            return Err(anyhow!("{typed}: {message}")).usage();
        }
        tree.set(&path, node).map_err(|message| anyhow!("{typed}: {message}")).usage()?;
    }
    let config = RunConfig::deserialize(&tree).map_err(anyhow::Error::from).usage()?;
    let refused =
        |error: ConfigError| ConfigDiagnostic::at(tree.place_of(&error.path), error.to_string());
    config.validate().map_err(refused).map_err(anyhow::Error::from).usage()?;
    Ok(config)
}

/// Keys in which two configurations differ, with both values.
pub(crate) fn differences(
    saved: &RunConfig,
    asked: &RunConfig,
) -> Result<Vec<(String, String, String)>, serde_json::Error> {
    let mut found = Vec::new();
    let (saved, asked) = (serde_json::to_value(saved)?, serde_json::to_value(asked)?);
    compare("", &saved, &asked, &mut found);
    Ok(found)
}

fn compare(path: &str, a: &Json, b: &Json, found: &mut Vec<(String, String, String)>) {
    let join = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match (a, b) {
        _ if a == b => {}
        (Json::Object(a), Json::Object(b)) if a.keys().eq(b.keys()) => {
            for (key, value) in a {
                compare(&join(key), value, &b[key], found);
            }
        }
        (Json::Array(a), Json::Array(b)) if a.len() == b.len() => {
            for (index, pair) in a.iter().zip(b).enumerate() {
                compare(&join(&index.to_string()), pair.0, pair.1, found);
            }
        }
        _ => found.push((path.to_owned(), a.to_string(), b.to_string())),
    }
}

fn recipe_tree(name: &str) -> Result<Node, Failure> {
    let text = recipes::text(name)
        .with_context(|| {
            let near = diagnostic::did_you_mean(name, recipes::names());
            format!("there is no recipe `{name}`{near} (`lfnn-cli recipes` lists them)")
        })
        .usage()?;
    let source = Arc::new(Source::File(format!("recipe {name}")));
    yaml::parse(text, &source, 0).map_err(anyhow::Error::from).usage()
}

fn read_file(path: &Path) -> Result<Node, Failure> {
    let text = read_text(path).usage()?;
    let source = Arc::new(Source::File(path.display().to_string()));
    let tree = yaml::parse(&text, &source, 1).map_err(anyhow::Error::from).usage()?;
    if tree.is_null() {
        return Ok(Node::empty_map(tree.place));
    }
    let keys = HashMap::<String, IgnoredAny>::deserialize(&tree);
    keys.map_err(anyhow::Error::from).usage()?;
    Ok(tree)
}

/// The text of a configuration's file, or of a pipe.
///
/// # Errors
/// What cannot be read, is too large, or is no text.
pub(crate) fn read_text(path: &Path) -> anyhow::Result<String> {
    files::read_text(path, "configuration", yaml::MAX_BYTES)
}

/// Reads any configuration from the text of a file.
///
/// # Errors
/// Text that is not YAML, or keys and values that do not fit, with their place.
pub(crate) fn read<T: DeserializeOwned>(text: &str, name: &str) -> anyhow::Result<T> {
    let tree = yaml::parse(text, &Arc::new(Source::File(name.to_owned())), 0)?;
    Ok(T::deserialize(&tree)?)
}

fn text_node(text: String, place: Location) -> Node {
    Node::new(Value::Text(text), place)
}
