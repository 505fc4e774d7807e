//! The implementation of a saga's states that the derive writes.

use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Fields, Ident, LitStr, Variant};

pub(crate) fn saga_state(input: &DeriveInput) -> syn::Result<TokenStream> {
    let states = states(input)?;
    let variants: Vec<_> = states.iter().map(|(variant, _)| variant).collect();
    let names: Vec<_> = states.iter().map(|(_, name)| name).collect();
    let name = &input.ident;
    Ok(quote! {
        #[automatically_derived]
        impl ::bus_saga::SagaState for #name {
            const ALL: &'static [Self] = &[#(Self::#variants),*];

            fn name(self) -> &'static str {
                match self {
                    #(Self::#variants => #names),*
                }
            }
        }
    })
}

/// The variants, and the names under which they are stored.
fn states(input: &DeriveInput) -> syn::Result<Vec<(&Ident, LitStr)>> {
    let name = &input.ident;
    let Data::Enum(data) = &input.data else {
        let text = format!("`{name}` is no enum: the states of a saga are the variants of one");
        return Err(syn::Error::new(name.span(), text));
    };
    if !input.generics.params.is_empty() {
        let text = "an enum of states has no parameters";
        return Err(syn::Error::new(input.generics.span(), text));
    }
    if data.variants.is_empty() {
        let text = format!("`{name}` has no state: give it a variant for each");
        return Err(syn::Error::new(name.span(), text));
    }
    let mut found: Vec<(&Ident, LitStr)> = Vec::new();
    for variant in &data.variants {
        if !matches!(variant.fields, Fields::Unit) {
            let text =
                "a state holds no data: the data of a saga is in the type that implements `Saga`";
            return Err(syn::Error::new(variant.fields.span(), text));
        }
        let stored = stored_name(variant)?;
        let same = |(_, other): &&(&Ident, LitStr)| other.value() == stored.value();
        if let Some((earlier, _)) = found.iter().find(same) {
            let text = format!("`{earlier}` is stored under the same name");
            return Err(syn::Error::new(stored.span(), text));
        }
        found.push((&variant.ident, stored));
    }
    Ok(found)
}

/// The name of `#[state("…")]`, else that of the variant.
fn stored_name(variant: &Variant) -> syn::Result<LitStr> {
    let mut attributes = variant
        .attrs
        .iter()
        .filter(|it| it.path().is_ident("state"));
    let Some(attribute) = attributes.next() else {
        let name = variant.ident.unraw().to_string();
        return Ok(LitStr::new(&name, variant.ident.span()));
    };
    if let Some(second) = attributes.next() {
        return Err(syn::Error::new(second.span(), "one name is enough"));
    }
    let name: LitStr = attribute.parse_args()?;
    if name.value().is_empty() {
        return Err(syn::Error::new(name.span(), "the name is empty"));
    }
    Ok(name)
}
