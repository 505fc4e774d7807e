//! Generation of the implementation of `Message`.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Fields, GenericParam, Generics, Ident, LitStr, parse_quote};

use crate::options::Options;

pub(crate) fn message(input: &DeriveInput) -> syn::Result<TokenStream> {
    let options = Options::of(input)?;
    check_shape(input)?;
    let parameters = type_parameters(&input.generics)?;
    if let (Some(first), true) = (parameters.first(), options.name.value().contains('[')) {
        let text = format!("leave the type arguments out: they come from `{first}`");
        return Err(syn::Error::new(options.name.span(), text));
    }
    let own = own_name(&options.name, &parameters);
    let implements = list_method("implements", options.implements.iter().map(plain_name));
    let aliases = options
        .aliases
        .iter()
        .map(|alias| own_name(alias, &parameters));
    let aliases = list_method("aliases", aliases);
    let correlation = correlation(input, options.correlation.as_ref())?;

    let mut generics = input.generics.clone();
    for parameter in generics.type_params_mut() {
        parameter.bounds.push(parse_quote!(::bus_core::Message));
    }
    let name = &input.ident;
    let (impl_generics, type_generics, where_clause) = generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #impl_generics ::bus_core::Message for #name #type_generics #where_clause {
            fn message_type() -> ::bus_core::message::MessageType {
                #own
            }
            #implements
            #aliases
            #correlation
        }
    })
}

/// Refuses a type that serde would not write as a JSON object.
fn check_shape(input: &DeriveInput) -> syn::Result<()> {
    let name = &input.ident;
    let text = match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Unit => format!(
                "a message travels as a JSON object, and `struct {name};` would be null: write `struct {name} {{}}`"
            ),
            Fields::Unnamed(fields) if fields.unnamed.len() != 1 => format!(
                "a message travels as a JSON object, and `{name}` would be a list: give its members names"
            ),
            _ => return Ok(()),
        },
        Data::Enum(_) => return Ok(()),
        Data::Union(_) => format!("`{name}` is a union: a message is a struct or an enum"),
    };
    Err(syn::Error::new(name.span(), text))
}

fn type_parameters(generics: &Generics) -> syn::Result<Vec<&Ident>> {
    fn name(parameter: &GenericParam) -> syn::Result<&Ident> {
        match parameter {
            GenericParam::Type(parameter) => Ok(&parameter.ident),
            GenericParam::Lifetime(lifetime) => Err(syn::Error::new(
                lifetime.span(),
                "a message owns its data: use String instead of &str, Vec<T> instead of &[T]",
            )),
            GenericParam::Const(constant) => Err(syn::Error::new(
                constant.span(),
                "a wire name has no place for a constant: only types can be parameters of a message",
            )),
        }
    }
    generics.params.iter().map(name).collect()
}

fn plain_name(name: &LitStr) -> TokenStream {
    quote!(::bus_core::message::MessageType::new(#name))
}

fn own_name(name: &LitStr, parameters: &[&Ident]) -> TokenStream {
    let plain = plain_name(name);
    if parameters.is_empty() {
        return plain;
    }
    quote!(#plain.with_arguments([#(<#parameters as ::bus_core::Message>::message_type()),*]))
}

fn list_method(
    method: &str,
    names: impl ExactSizeIterator<Item = TokenStream>,
) -> Option<TokenStream> {
    if names.len() == 0 {
        return None;
    }
    let method = Ident::new(method, proc_macro2::Span::call_site());
    Some(quote! {
        fn #method() -> ::std::vec::Vec<::bus_core::message::MessageType> {
            ::std::vec![#(#names),*]
        }
    })
}

fn correlation(input: &DeriveInput, member: Option<&LitStr>) -> syn::Result<Option<TokenStream>> {
    let Some(member) = member else {
        return Ok(None);
    };
    let error = |text: String| Err(syn::Error::new(member.span(), text));
    let Data::Struct(data) = &input.data else {
        return error("only a struct can name a member for its correlation id".to_owned());
    };
    let wanted = member.value();
    let named = |field: &&syn::Field| {
        field
            .ident
            .as_ref()
            .is_some_and(|ident| ident.unraw() == wanted)
    };
    let Some(field) = data.fields.iter().find(named) else {
        return error(format!("`{}` has no member `{wanted}`", input.ident));
    };
    let (ident, span) = (&field.ident, field.ty.span());
    let id = quote_spanned!(span=> ::bus_core::derive_support::CorrelationMember::id(&self.#ident));
    Ok(Some(quote! {
        fn correlation_id(&self) -> ::core::option::Option<::bus_core::derive_support::Uuid> {
            #id
        }
    }))
}
