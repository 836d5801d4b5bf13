//! What a function must be so that a process can run it: the trait behind `Process::spawn`, for
//! functions of up to twelve arguments.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A function that takes the tuple `Args`; implemented for every function of up to twelve
/// arguments.
///
/// That a function can be *called* this way does not register it: `#[tasuki::task]` does, and it
/// checks that arguments and result can travel.
#[diagnostic::on_unimplemented(
    message = "this cannot run in a process with the arguments `{Args}`",
    label = "not a function of these arguments",
    note = "the arguments are a tuple in the order of the function's parameters: `()` for none, \
            `(a,)` for one, `(a, b)` for two; at most twelve"
)]
pub trait Task<Args>: Copy + 'static {
    /// What the function returns.
    type Output;

    /// Calls the function.
    fn call(self, arguments: Args) -> Self::Output;
}

/// A value that can be an argument or a result: it can be written as bytes and read back.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot travel to another process",
    label = "needs serde's Serialize and Deserialize, and no borrowed parts",
    note = "for a type of your own, write `#[derive(serde::Serialize, serde::Deserialize)]`"
)]
pub trait Transferable: Serialize + DeserializeOwned + 'static {}

impl<T: Serialize + DeserializeOwned + 'static> Transferable for T {}

macro_rules! tasks {
    ($($argument:ident)*) => {
        impl<Function, Output, $($argument),*> Task<($($argument,)*)> for Function
        where
            Function: Fn($($argument),*) -> Output + Copy + 'static,
        {
            type Output = Output;

            #[allow(non_snake_case)] // The arguments carry the names of their types.
            fn call(self, ($($argument,)*): ($($argument,)*)) -> Output {
                self($($argument),*)
            }
        }
    };
}

tasks!();
tasks!(A);
tasks!(A B);
tasks!(A B C);
tasks!(A B C D);
tasks!(A B C D E);
tasks!(A B C D E F);
tasks!(A B C D E F G);
tasks!(A B C D E F G H);
tasks!(A B C D E F G H I);
tasks!(A B C D E F G H I J);
tasks!(A B C D E F G H I J K);
tasks!(A B C D E F G H I J K L);
