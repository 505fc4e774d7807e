//! The implementation of a reply that the derive writes.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Fields, Ident, Type, Variant};

pub(crate) fn reply(input: &DeriveInput) -> syn::Result<TokenStream> {
    let variants = variants(input)?;
    let contracts = variants.iter().map(|(_, message)| {
        quote_spanned!(message.span()=> ::bus_core::message::Contract::of::<#message>())
    });
    let tries = variants.iter().map(|(variant, message)| {
        quote_spanned! {message.span()=>
            if let ::core::option::Option::Some(reply) =
                <#message as ::bus_core::Reply>::from_envelope(envelope)
            {
                return ::core::option::Option::Some(reply.map(Self::#variant));
            }
        }
    });
    let name = &input.ident;
    Ok(quote! {
        #[automatically_derived]
        impl ::bus_core::Reply for #name {
            fn contracts() -> ::std::vec::Vec<&'static ::bus_core::message::Contract> {
                ::std::vec![#(#contracts),*]
            }

            fn from_envelope(
                envelope: &::bus_core::message::Envelope,
            ) -> ::core::option::Option<
                ::core::result::Result<Self, ::bus_core::codec::DecodeError>,
            > {
                #(#tries)*
                ::core::option::Option::None
            }
        }
    })
}

/// The variants and the messages that they hold.
fn variants(input: &DeriveInput) -> syn::Result<Vec<(&Ident, &Type)>> {
    let name = &input.ident;
    let Data::Enum(data) = &input.data else {
        let text = format!(
            "`{name}` is no enum: derive `Reply` for an enum whose variants each hold a message; \
             a single message is a reply by itself"
        );
        return Err(syn::Error::new(name.span(), text));
    };
    if !input.generics.params.is_empty() {
        let text = "an enum of replies has no parameters";
        return Err(syn::Error::new(input.generics.span(), text));
    }
    if data.variants.is_empty() {
        let text = format!("`{name}` accepts no reply: give it a variant for each message");
        return Err(syn::Error::new(name.span(), text));
    }
    let mut found: Vec<(&Ident, &Type)> = Vec::new();
    for variant in &data.variants {
        let message = message(variant)?;
        let text = message.to_token_stream().to_string();
        let same = |(_, other): &&(&Ident, &Type)| other.to_token_stream().to_string() == text;
        if let Some((earlier, _)) = found.iter().find(same) {
            let text = format!("`{earlier}` holds the same message, so this variant never comes");
            return Err(syn::Error::new(variant.span(), text));
        }
        found.push((&variant.ident, message));
    }
    Ok(found)
}

fn message(variant: &Variant) -> syn::Result<&Type> {
    match &variant.fields {
        Fields::Unnamed(fields) if fields.unnamed.len() == 1 => Ok(&fields.unnamed[0].ty),
        _ => {
            let text = format!(
                "a variant of replies holds one message: write `{}(Message)`",
                variant.ident
            );
            Err(syn::Error::new(variant.span(), text))
        }
    }
}
