//! `#[tasuki::main]`: wraps `main` into the question whether this process runs a task.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Error, ItemFn};

pub(crate) fn expand(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let written = item.clone();
    match checked(attribute, item) {
        Ok(function) => wrapped(&function),
        // What was written goes out too: else each use of it would be an error of its own.
        Err(error) => {
            let error = error.into_compile_error();
            quote!(#error #written)
        }
    }
}

fn wrapped(main: &ItemFn) -> TokenStream {
    let visibility = &main.vis;
    let span = main.sig.ident.span();
    let call = quote_spanned!(span=> ::tasuki::launch::enter(main));
    quote! {
        #visibility fn main() -> ::std::process::ExitCode {
            #main
            #call
        }
    }
}

fn checked(attribute: TokenStream, item: TokenStream) -> Result<ItemFn, Error> {
    if !attribute.is_empty() {
        return Err(Error::new(attribute.span(), "#[tasuki::main] takes no arguments"));
    }
    let mut main: ItemFn = syn::parse2(item).map_err(|error| {
        Error::new(error.span(), "#[tasuki::main] belongs on the function `main`")
    })?;
    if main.sig.ident != "main" {
        return Err(Error::new(
            main.sig.ident.span(),
            "#[tasuki::main] belongs on `fn main`: the first thing that runs in the program",
        ));
    }
    if !main.sig.inputs.is_empty() {
        return Err(Error::new(main.sig.inputs.span(), "`main` takes no arguments"));
    }
    if !main.sig.generics.params.is_empty() {
        return Err(Error::new(main.sig.generics.span(), "`main` takes no generic parameters"));
    }
    let runtime = main
        .attrs
        .iter()
        .any(|attribute| attribute.path().segments.last().is_some_and(|last| last.ident == "main"));
    if let (Some(keyword), false) = (main.sig.asyncness, runtime) {
        return Err(Error::new(
            keyword.span(),
            "an asynchronous `main` needs a runtime: write its attribute, such as \
             #[tokio::main], below #[tasuki::main]",
        ));
    }
    main.vis = syn::Visibility::Inherited;
    Ok(main)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(attribute: TokenStream, item: TokenStream) -> String {
        checked(attribute, item).err().expect("an error").to_string()
    }

    #[test]
    fn mistakes_are_told() {
        let none = TokenStream::new;
        assert!(
            error(
                quote!(x),
                quote!(
                    fn main() {}
                )
            )
            .contains("no arguments")
        );
        assert!(
            error(
                none(),
                quote!(
                    struct S;
                )
            )
            .contains("belongs on the function")
        );
        assert!(
            error(
                none(),
                quote!(
                    fn run() {}
                )
            )
            .contains("belongs on `fn main`")
        );
        assert!(
            error(
                none(),
                quote!(
                    fn main(x: u8) {}
                )
            )
            .contains("takes no arguments")
        );
        assert!(
            error(
                none(),
                quote!(
                    fn main<T>() {}
                )
            )
            .contains("generic")
        );
        assert!(
            error(
                none(),
                quote!(
                    async fn main() {}
                )
            )
            .contains("runtime")
        );
    }

    #[test]
    fn what_a_main_may_be() {
        let none = TokenStream::new;
        assert!(
            checked(
                none(),
                quote!(
                    fn main() {}
                )
            )
            .is_ok()
        );
        assert!(
            checked(
                none(),
                quote!(
                    fn main() -> Result<(), E> {
                        Ok(())
                    }
                )
            )
            .is_ok()
        );
        assert!(
            checked(
                none(),
                quote!(
                    #[tokio::main]
                    async fn main() {}
                )
            )
            .is_ok()
        );
    }
}
