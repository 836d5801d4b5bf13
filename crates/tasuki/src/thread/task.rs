//! What a thread can run: the trait behind `thread::Process::spawn`, for functions and closures of up to twelve
//! arguments.

/// A function or closure that takes the tuple `Args`, once, in another thread; implemented for all of up to twelve
/// arguments that may be sent there.
#[diagnostic::on_unimplemented(
    message = "this cannot run in a thread with the arguments `{Args}`",
    label = "not a function of these arguments that may be sent to another thread",
    note = "the arguments are a tuple in the order of the function's parameters: `()` for none, \
            `(a,)` for one, `(a, b)` for two; at most twelve. A closure owns what it uses: write `move`"
)]
pub trait Task<Args>: Send + 'static {
    /// What the function returns.
    type Output;

    /// Calls the function.
    fn call(self, arguments: Args) -> Self::Output;
}

macro_rules! tasks {
    ($($argument:ident)*) => {
        impl<Function, Output, $($argument),*> Task<($($argument,)*)> for Function
        where
            Function: FnOnce($($argument),*) -> Output + Send + 'static,
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
