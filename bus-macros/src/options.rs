//! Options in `#[message(…)]`.

use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Attribute, DeriveInput, Ident, LitStr, Token, parenthesized, token};

use crate::name;

/// Usage of the attribute, for errors.
const USAGE: &str = "#[message(\"Namespace:Name\")]";

/// Contents of the attribute, with every name checked.
pub(crate) struct Options {
    pub(crate) name: LitStr,
    pub(crate) implements: Vec<LitStr>,
    pub(crate) aliases: Vec<LitStr>,
    pub(crate) correlation: Option<LitStr>,
}

impl Options {
    pub(crate) fn of(input: &DeriveInput) -> syn::Result<Self> {
        let mut attributes = input
            .attrs
            .iter()
            .filter(|attribute| attribute.path().is_ident("message"));
        let Some(attribute) = attributes.next() else {
            let text = format!("`{}` has no wire name: add {USAGE}", input.ident);
            return Err(syn::Error::new(input.ident.span(), text));
        };
        if let Some(second) = attributes.next() {
            let text = "a second `message` attribute; put everything into the first one";
            return Err(syn::Error::new_spanned(second, text));
        }
        Self::read(attribute)
    }

    fn read(attribute: &Attribute) -> syn::Result<Self> {
        match &attribute.meta {
            syn::Meta::List(list) if !list.tokens.is_empty() => attribute.parse_args(),
            other => Err(syn::Error::new_spanned(
                other,
                format!("the wire name is missing: write {USAGE}"),
            )),
        }
    }

    fn read_key(&mut self, key: &Ident, input: ParseStream<'_>) -> syn::Result<()> {
        let twice = |given: bool| {
            if given {
                return Err(syn::Error::new(
                    key.span(),
                    format!("`{key}` is given twice"),
                ));
            }
            Ok(())
        };
        match key.to_string().as_str() {
            "implements" => {
                twice(!self.implements.is_empty())?;
                self.implements = names(key, input)?;
            }
            "alias" => self.aliases.extend(names(key, input)?),
            "correlation" => {
                twice(self.correlation.is_some())?;
                if !input.peek(Token![=]) {
                    let text = "write the name of a member: correlation = \"invoice_id\"";
                    return Err(syn::Error::new(key.span(), text));
                }
                input.parse::<Token![=]>()?;
                self.correlation = Some(input.parse()?);
            }
            _ => {
                let text = format!(
                    "`{key}` is not known here; known are implements, alias and correlation"
                );
                return Err(syn::Error::new(key.span(), text));
            }
        }
        Ok(())
    }
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        if !input.peek(LitStr) {
            return Err(input.error(format!("the wire name comes first, as text: {USAGE}")));
        }
        let mut options = Self {
            name: input.parse()?,
            implements: Vec::new(),
            aliases: Vec::new(),
            correlation: None,
        };
        name::check(&options.name)?;
        while !input.is_empty() {
            input.parse::<Token![,]>()?;
            if input.is_empty() {
                break;
            }
            let key: Ident = input.parse()?;
            options.read_key(&key, input)?;
        }
        options.refuse_repeated_names()?;
        Ok(options)
    }
}

impl Options {
    fn refuse_repeated_names(&self) -> syn::Result<()> {
        for list in [&self.implements, &self.aliases] {
            for (index, literal) in list.iter().enumerate() {
                let earlier = std::iter::once(&self.name).chain(&list[..index]);
                if earlier
                    .into_iter()
                    .any(|other| other.value() == literal.value())
                {
                    let text = format!("`{}` is already named here", literal.value());
                    return Err(syn::Error::new(literal.span(), text));
                }
            }
        }
        Ok(())
    }
}

/// Reads `("A:B", "C:D")`, with at least one name.
fn names(key: &Ident, input: ParseStream<'_>) -> syn::Result<Vec<LitStr>> {
    let usage = || {
        syn::Error::new(
            key.span(),
            format!("write names in brackets: {key}(\"Namespace:Name\")"),
        )
    };
    if !input.peek(token::Paren) {
        return Err(usage());
    }
    let inner;
    parenthesized!(inner in input);
    let names = Punctuated::<LitStr, Token![,]>::parse_terminated(&inner)?;
    if names.is_empty() {
        return Err(usage());
    }
    names.iter().try_for_each(name::check)?;
    Ok(names.into_iter().collect())
}
