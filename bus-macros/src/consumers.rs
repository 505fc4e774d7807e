//! The implementations of `Consumer` that `#[consumers]` writes.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{
    Attribute, FnArg, GenericArgument, Ident, ImplItem, ImplItemFn, ItemImpl, PathArguments,
    ReturnType, Type,
};

/// Form of a consumer, for errors.
const USAGE: &str = "async fn name(&self, ctx: ConsumeContext<Message>) -> ConsumeResult";

/// Name of the method that returns the unit of work of all consumers of a block.
const UNIT_OF_WORK: &str = "unit_of_work";

/// Method that consumes a message.
struct Method<'a> {
    name: &'a Ident,
    message: &'a Type,
    conditions: Vec<&'a Attribute>,
}

/// Returns the block as it is, followed by what its methods implement.
pub(crate) fn consumers(options: &TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    if !options.is_empty() {
        let text = "`#[consumers]` has no options";
        return Err(syn::Error::new(options.span(), text));
    }
    let block: ItemImpl = syn::parse2(item).map_err(|error| {
        let text = format!("`#[consumers]` belongs on `impl Type {{ … }}`: {error}");
        syn::Error::new(error.span(), text)
    })?;
    expand(&block)
}

fn expand(block: &ItemImpl) -> syn::Result<TokenStream> {
    let methods = methods(block)?;
    let unit_of_work = unit_of_work(block);
    let (generics, _, bounds) = block.generics.split_for_impl();
    let owner = &block.self_ty;
    let consumers = methods.iter().map(|method| {
        let Method {
            name,
            message,
            conditions,
        } = method;
        quote_spanned! {message.span()=>
            #(#conditions)*
            #[allow(clippy::useless_conversion)] // of an error that is a `ConsumeError` already
            impl #generics ::bus_core::Consumer<#message> for #owner #bounds {
                async fn consume(
                    &self,
                    ctx: ::bus_core::ConsumeContext<#message>,
                ) -> ::bus_core::ConsumeResult {
                    self.#name(ctx).await.map_err(::core::convert::Into::into)
                }

                #unit_of_work
            }
        }
    });
    let additions = methods.iter().map(|method| {
        let Method {
            message,
            conditions,
            ..
        } = method;
        quote! {
            #(#conditions)*
            set.add::<#message>(::std::sync::Arc::clone(&self));
        }
    });
    Ok(quote! {
        #[allow(clippy::unused_async, clippy::unused_self)] // consumers look alike
        #block

        #(#consumers)*

        impl #generics ::bus_core::consume::Consumers for #owner #bounds {
            fn add_to(
                self: ::std::sync::Arc<Self>,
                set: &mut ::bus_core::consume::ConsumerSet,
            ) {
                #(#additions)*
            }
        }
    })
}

/// Returns the method of the trait that calls that of the block, if there is one.
fn unit_of_work(block: &ItemImpl) -> Option<TokenStream> {
    let method = block.items.iter().find_map(|item| match item {
        ImplItem::Fn(function) if function.sig.ident == UNIT_OF_WORK => Some(&function.sig.ident),
        _ => None,
    })?;
    // The method of the type itself comes before that of the trait.
    Some(quote_spanned! {method.span()=>
        fn unit_of_work(
            &self,
        ) -> ::core::option::Option<::std::sync::Arc<dyn ::bus_core::consume::UnitOfWork>> {
            ::core::option::Option::Some(Self::unit_of_work(self))
        }
    })
}

/// Reads the methods, and collects the errors of all of them.
fn methods(block: &ItemImpl) -> syn::Result<Vec<Method<'_>>> {
    if let Some((_, path, _)) = &block.trait_ {
        let text = "`#[consumers]` belongs on the methods of a type: `impl Type { … }`";
        return Err(syn::Error::new(path.span(), text));
    }
    let mut found: Vec<Method<'_>> = Vec::new();
    let mut errors: Option<syn::Error> = None;
    for item in &block.items {
        let ImplItem::Fn(function) = item else {
            continue;
        };
        if function.sig.ident == UNIT_OF_WORK {
            continue;
        }
        let read = method(function).and_then(|method| {
            refuse_second(&found, &method)?;
            Ok(method)
        });
        match (read, &mut errors) {
            (Ok(method), _) => found.push(method),
            (Err(error), Some(errors)) => errors.combine(error),
            (Err(error), None) => errors = Some(error),
        }
    }
    match errors {
        Some(errors) => Err(errors),
        None if found.is_empty() => {
            let text = format!("no method consumes a message: write `{USAGE}`");
            Err(syn::Error::new(block.self_ty.span(), text))
        }
        None => Ok(found),
    }
}

fn method(function: &ImplItemFn) -> syn::Result<Method<'_>> {
    let signature = &function.sig;
    let name = &signature.ident;
    let problem = if signature.asyncness.is_none() {
        "is not async"
    } else if !signature.generics.params.is_empty() {
        "has parameters of its own"
    } else if !takes_shared_self(signature.inputs.first()) {
        "does not take `&self`, and one instance handles many messages at once"
    } else if matches!(signature.output, ReturnType::Default) {
        "returns nothing"
    } else if let Some(message) = message(signature.inputs.iter().skip(1)) {
        return Ok(Method {
            name,
            message,
            conditions: conditions(function),
        });
    } else {
        "does not take a `ConsumeContext<Message>`, by value and alone"
    };
    let text = format!(
        "`{name}` {problem}: write a consumer as `{USAGE}`, and other methods in an `impl` block of \
         their own"
    );
    Err(syn::Error::new(name.span(), text))
}

fn takes_shared_self(input: Option<&FnArg>) -> bool {
    matches!(input, Some(FnArg::Receiver(receiver))
        if receiver.reference.is_some() && receiver.mutability.is_none())
}

/// Returns `M` if the only input is a `ConsumeContext<M>`.
fn message<'a>(mut inputs: impl Iterator<Item = &'a FnArg>) -> Option<&'a Type> {
    let (Some(FnArg::Typed(input)), None) = (inputs.next(), inputs.next()) else {
        return None;
    };
    let Type::Path(path) = &*input.ty else {
        return None;
    };
    let last = path.path.segments.last()?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else {
        return None;
    };
    let mut arguments = arguments.args.iter();
    match (arguments.next(), arguments.next()) {
        (Some(GenericArgument::Type(message)), None) if last.ident == "ConsumeContext" => {
            Some(message)
        }
        _ => None,
    }
}

/// Conditions under which the method is compiled.
fn conditions(function: &ImplItemFn) -> Vec<&Attribute> {
    let attributes = function.attrs.iter();
    attributes
        .filter(|attribute| attribute.path().is_ident("cfg"))
        .collect()
}

fn refuse_second(earlier: &[Method<'_>], method: &Method<'_>) -> syn::Result<()> {
    let text_of = |method: &Method<'_>| {
        let conditions = &method.conditions;
        let message = method.message.to_token_stream();
        quote!(#(#conditions)* #message).to_string()
    };
    let same = |other: &&Method<'_>| text_of(other) == text_of(method);
    let Some(first) = earlier.iter().find(same) else {
        return Ok(());
    };
    let message = method.message.to_token_stream();
    let text = format!(
        "`{}` consumes `{message}` already: an endpoint has one consumer of each message",
        first.name
    );
    Err(syn::Error::new(method.message.span(), text))
}
