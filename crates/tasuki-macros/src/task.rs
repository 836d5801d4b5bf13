//! `#[tasuki::task]`: leaves the function as it is and adds it to the program's table of tasks.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Error, FnArg, ItemFn, ReturnType, Type};

/// As many as `tasuki::launch::Task` is implemented for.
const MOST_ARGUMENTS: usize = 12;

pub(crate) fn expand(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let written = item.clone();
    match checked(attribute, item) {
        Ok(task) => registered(&task),
        // What was written goes out too: else each use of it would be an error of its own.
        Err(error) => {
            let error = error.into_compile_error();
            quote!(#error #written)
        }
    }
}

struct Task {
    function: ItemFn,
    arguments: Vec<Type>,
    result: Type,
}

fn registered(task: &Task) -> TokenStream {
    let Task { function, arguments, result } = task;
    let name = &function.sig.ident;
    let conditions = function.attrs.iter().filter(|attribute| attribute.path().is_ident("cfg"));
    // With the type's own place, so that the compiler points at the argument that cannot travel.
    let transferable = arguments
        .iter()
        .chain([result])
        .map(|one| quote_spanned!(one.span()=> transferable::<#one>();));
    quote! {
        #function

        #(#conditions)*
        #[doc(hidden)]
        const _: () = {
            const _: fn() = || {
                fn transferable<T: ::tasuki::launch::Transferable>() {}
                #(#transferable)*
            };
            ::tasuki::launch::inventory::submit! {
                ::tasuki::launch::Entry {
                    name: || ::tasuki::launch::name_of(&#name),
                    signature: ::tasuki::launch::signature_of::<(#(#arguments,)*), #result>,
                    run: |call| ::tasuki::launch::run::<(#(#arguments,)*), _>(call, #name),
                }
            }
        };
    }
}

fn checked(attribute: TokenStream, item: TokenStream) -> Result<Task, Error> {
    if !attribute.is_empty() {
        return Err(Error::new(attribute.span(), "#[tasuki::task] takes no arguments"));
    }
    let function: ItemFn = syn::parse2(item)
        .map_err(|error| Error::new(error.span(), "#[tasuki::task] belongs on a function"))?;
    let signature = &function.sig;
    if let Some(keyword) = signature.asyncness {
        return Err(Error::new(
            keyword.span(),
            "a task is an ordinary function: start the asynchronous runtime inside it",
        ));
    }
    if let Some(keyword) = signature.unsafety {
        return Err(Error::new(
            keyword.span(),
            "a task is a safe function: call the unsafe one inside it",
        ));
    }
    if !signature.generics.params.is_empty() {
        return Err(Error::new(
            signature.generics.span(),
            "a task cannot be generic, because the other process finds it by its name alone: \
             write one task for each type, each calling the generic function",
        ));
    }
    if let Some(variadic) = &signature.variadic {
        return Err(Error::new(variadic.span(), "a task has a fixed number of arguments"));
    }
    let mut arguments = Vec::new();
    for input in &signature.inputs {
        match input {
            FnArg::Typed(argument) => arguments.push((*argument.ty).clone()),
            FnArg::Receiver(receiver) => {
                return Err(Error::new(
                    receiver.span(),
                    "a task is a function by itself: take the value as an ordinary argument",
                ));
            }
        }
    }
    if arguments.len() > MOST_ARGUMENTS {
        return Err(Error::new(
            signature.inputs.span(),
            format!("a task takes at most {MOST_ARGUMENTS} arguments: put some into a struct"),
        ));
    }
    let result = match &signature.output {
        ReturnType::Default => syn::parse_quote!(()),
        ReturnType::Type(_, result) => (**result).clone(),
    };
    for (one, role) in arguments.iter().map(|one| (one, "takes")).chain([(&result, "returns")]) {
        travels(one, role)?;
    }
    Ok(Task { function, arguments, result })
}

/// Refuses what surely cannot travel, in words that say what to write instead; the rest is the
/// compiler's to judge, by serde's traits.
fn travels(one: &Type, role: &str) -> Result<(), Error> {
    let reason = match one {
        Type::Reference(_) => {
            "a reference, which means nothing in another process: use an owned type, \
             such as String for &str and Vec<T> for &[T]"
        }
        Type::Ptr(_) => "a pointer, which means nothing in another process",
        Type::BareFn(_) => {
            "a function pointer, which means nothing in another process: use an enum that names \
             the functions"
        }
        Type::ImplTrait(_) => "`impl Trait`, which hides the type that is to travel: name the type",
        Type::Never(_) => "`!`: let it return `()`, and never return",
        _ => return Ok(()),
    };
    Err(Error::new(one.span(), format!("this task {role} {reason}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(item: TokenStream) -> String {
        checked(TokenStream::new(), item).err().expect("an error").to_string()
    }

    #[test]
    fn mistakes_are_told() {
        assert!(
            checked(
                quote!(x),
                quote!(
                    fn f() {}
                )
            )
            .is_err()
        );
        assert!(
            error(quote!(
                struct S;
            ))
            .contains("belongs on a function")
        );
        assert!(
            error(quote!(
                async fn f() {}
            ))
            .contains("runtime inside")
        );
        assert!(
            error(quote!(
                unsafe fn f() {}
            ))
            .contains("safe function")
        );
        assert!(
            error(quote!(
                fn f<T>(x: T) {}
            ))
            .contains("cannot be generic")
        );
        assert!(
            error(quote!(
                fn f(&self) {}
            ))
            .contains("ordinary argument")
        );
        assert!(
            error(quote!(
                fn f(x: &str) {}
            ))
            .contains("takes a reference")
        );
        assert!(
            error(quote!(
                fn f() -> &'static str {
                    ""
                }
            ))
            .contains("returns a reference")
        );
        assert!(
            error(quote!(
                fn f(x: *const u8) {}
            ))
            .contains("pointer")
        );
        assert!(
            error(quote!(
                fn f(x: fn()) {}
            ))
            .contains("function pointer")
        );
        assert!(
            error(quote!(
                fn f(x: impl Copy) {}
            ))
            .contains("name the type")
        );
        assert!(
            error(quote!(
                fn f() -> ! {
                    loop {}
                }
            ))
            .contains("never return")
        );
        let many = (0..13).map(|_| quote!(_: u8));
        assert!(error(quote!(fn f(#(#many),*) {})).contains("at most 12"));
    }

    #[test]
    fn what_a_task_may_be() {
        for item in [
            quote!(
                fn f() {}
            ),
            quote!(
                pub(crate) fn f(mut a: u8, (b, c): (u8, String)) -> Result<u8, String> {
                    Ok(a)
                }
            ),
            quote!(
                const fn f(a: [u8; 4]) -> Option<u8> {
                    None
                }
            ),
        ] {
            assert!(checked(TokenStream::new(), item).is_ok());
        }
    }

    #[test]
    fn the_function_stays_and_its_conditions_go_along() {
        let text = expand(
            TokenStream::new(),
            quote!(
                #[cfg(unix)]
                #[inline]
                fn f(a: u8) {}
            ),
        );
        let text = text.to_string();
        assert!(text.contains("# [cfg (unix)] # [inline] fn f (a : u8) { }"), "{text}");
        assert_eq!(text.matches("# [cfg (unix)]").count(), 2, "{text}");
        assert_eq!(text.matches("inline").count(), 1, "{text}");
    }
}
