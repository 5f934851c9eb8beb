//! Which public types may change or share their thread: `Send`, `Sync` and `Unpin` of each are part of its contract.

use std::{marker::PhantomData, rc::Rc};

use bufferevent::{
    Accepted, AnyKind, Base, BaseHandle, Bufferevent, Builder, Call, Callbacks, Cause, Closed, Confined,
    ConfinedKind, Context, Defaults, Direction, Error, Evbuffer, Event, Family, Guard, Handle, Host,
    HostError, Id, Interest, Listener, ListenerHandle, LookupError, Movable, NoHandler, Options, PanicPolicy,
    Pinned, Placement, Query, Reply, Resolver, ResolverBuilder, Room, Runtime, SharedKind, Spot, Started,
    Stream, Target, Trigger, Turned, Unlocked, evbuffer, runtime,
};
use bufferevent_runtime::{Body, Held, Left, Lent, Reasons};

/// Tells what a concrete type implements: an inherent constant, if its bound holds, hides that of the trait.
struct Probe<T: ?Sized>(PhantomData<T>);

trait Otherwise {
    const SEND: &'static str = "";
    const SYNC: &'static str = "";
    const UNPIN: &'static str = "";
}

impl<T: ?Sized> Otherwise for Probe<T> {}

impl<T: ?Sized + Send> Probe<T> {
    const SEND: &'static str = "Send ";
}

impl<T: ?Sized + Sync> Probe<T> {
    const SYNC: &'static str = "Sync ";
}

impl<T: ?Sized + Unpin> Probe<T> {
    const UNPIN: &'static str = "Unpin ";
}

macro_rules! check {
    ($($type:ty: $expected:literal;)*) => {
        $(
            let found = [<Probe<$type>>::SEND, <Probe<$type>>::SYNC, <Probe<$type>>::UNPIN].concat();
            assert_eq!(found.trim_end(), $expected, "{}", stringify!($type));
        )*
    };
}

/// A strand's body that is only `Send`, as its bound asks.
struct OnlySend(PhantomData<std::cell::Cell<()>>);

impl Body for OnlySend {
    type Outer = ();

    fn run(_: &mut Held<'_, Self>, _: Reasons, _: &mut Lent<'_>) -> Left {
        Left::Dead
    }

    fn abandon(&mut self, (): &()) {}
}

#[test]
fn the_probe_can_tell() {
    check! {
        u8: "Send Sync Unpin";
        Rc<u8>: "Unpin";
        std::cell::Cell<u8>: "Send Unpin";
        std::marker::PhantomPinned: "Send Sync";
        OnlySend: "Send Unpin";
    }
}

#[test]
fn handles_go_anywhere() {
    check! {
        Handle: "Send Sync Unpin";
        Started: "Send Sync Unpin";
        Id: "Send Sync Unpin";
        Runtime: "Send Sync Unpin";
        BaseHandle: "Send Sync Unpin";
        BaseHandle<Pinned>: "Send Sync Unpin";
        ListenerHandle: "Send Sync Unpin";
        ListenerHandle<Pinned>: "Send Sync Unpin";
        runtime::ManualClock: "Send Sync Unpin";
        runtime::Clock: "Send Sync Unpin";
    }
}

#[test]
fn what_looks_names_up_goes_anywhere() {
    check! {
        Resolver: "Send Sync Unpin";
        ResolverBuilder: "Send Sync Unpin";
        Target: "Send Sync Unpin";
        Query: "Send Sync Unpin";
        Reply: "Send Sync Unpin";
        LookupError: "Send Sync Unpin";
        Host: "Send Sync Unpin";
        HostError: "Send Sync Unpin";
        Family: "Send Sync Unpin";
    }
}

#[test]
fn a_movable_base_moves_and_a_pinned_one_does_not() {
    check! {
        Base<Movable>: "Send Unpin";
        Base<Pinned>: "Unpin";
        Confined<Movable>: "Send Unpin";
        Confined<Pinned>: "Unpin";
        runtime::Worker: "Send Unpin";
    }
}

#[test]
fn a_guard_and_a_context_stay_on_their_thread() {
    check! {
        Guard<'static>: "Unpin";
        Context<'static>: "Send Unpin";
        Context<'static, Pinned>: "Unpin";
        Spot<'static>: "Send Unpin";
        Spot<'static, Pinned>: "Unpin";
        runtime::StrandGuard<'static, OnlySend>: "Unpin";
        Held<'static, OnlySend>: "Unpin";
        Lent<'static>: "Send Sync Unpin";
        runtime::Strand<OnlySend>: "Send Sync Unpin";
    }
}

#[test]
fn what_is_not_started_goes_where_its_handler_may() {
    check! {
        Bufferevent: "Send Sync Unpin";
        Builder: "Send Sync Unpin";
        Builder<SharedKind>: "Send Sync Unpin";
        Builder<AnyKind>: "Send Sync Unpin";
        Builder<ConfinedKind, Rc<u8>>: "Unpin";
        Listener: "Send Sync Unpin";
        Accepted: "Send Sync Unpin";
        Stream: "Send Sync Unpin";
        runtime::Builder: "Send Sync Unpin";
        Callbacks: "Send Sync Unpin";
        Callbacks<Pinned, Call<Rc<u8>>>: "Unpin";
        Unlocked<u8>: "Send Sync Unpin";
        Unlocked<Rc<u8>>: "Unpin";
        runtime::Accepting<runtime::Movable, u8, u8>: "Send Sync Unpin";
        runtime::Accepting<runtime::Pinned, Rc<u8>, u8>: "Unpin";
        runtime::Once<Rc<u8>>: "Unpin";
        runtime::Every<u8>: "Send Sync Unpin";
        runtime::Waiting<runtime::NoDescriptor, u8>: "Send Sync Unpin";
        runtime::Waiting<runtime::NoDescriptor, Rc<u8>>: "Unpin";
        runtime::Prepare<u8>: "Send Sync Unpin";
        runtime::Prepare<Rc<u8>>: "Unpin";
        runtime::Check<u8>: "Send Sync Unpin";
        runtime::Check<Rc<u8>>: "Unpin";
        runtime::Signalled<u8>: "Send Sync Unpin";
        runtime::Signalled<Rc<u8>>: "Unpin";
        runtime::Fired<'_, runtime::NoDescriptor>: "Send Sync Unpin";
    }
}

#[test]
fn values_go_anywhere() {
    check! {
        Evbuffer: "Send Sync Unpin";
        Event: "Send Sync Unpin";
        Closed: "Send Sync Unpin";
        Cause: "Send Sync Unpin";
        Error: "Send Sync Unpin";
        runtime::Error: "Send Sync Unpin";
        runtime::BoxError: "Send Sync Unpin";
        evbuffer::Error: "Send Sync Unpin";
        evbuffer::Change: "Send Sync Unpin";
        evbuffer::FileSegment: "Send Sync Unpin";
        evbuffer::FileError: "Send Sync Unpin";
        evbuffer::ObserverId: "Send Sync Unpin";
        Room: "Send Sync Unpin";
        Trigger: "Send Sync Unpin";
        Options: "Send Sync Unpin";
        Interest: "Send Sync Unpin";
        Direction: "Send Sync Unpin";
        PanicPolicy: "Send Sync Unpin";
        Placement: "Send Sync Unpin";
        Turned: "Send Sync Unpin";
        Defaults: "Send Sync Unpin";
        NoHandler: "Send Sync Unpin";
        Left: "Send Sync Unpin";
        Reasons: "Send Sync Unpin";
        runtime::After: "Send Sync Unpin";
        runtime::AnySelector: "Send Sync Unpin";
        runtime::BaseCounters: "Send Sync Unpin";
        runtime::WorkerCounters: "Send Sync Unpin";
        runtime::Event: "Send Sync Unpin";
        runtime::ConnectionLimit: "Send Sync Unpin";
        runtime::AddressLimit: "Send Sync Unpin";
        runtime::Verdict: "Send Sync Unpin";
        runtime::Census: "Send Sync Unpin";
        runtime::ListenOptions: "Send Sync Unpin";
        runtime::Permit: "Send Sync Unpin";
        runtime::Object: "Send Sync Unpin";
        runtime::EventId: "Send Sync Unpin";
        runtime::EventSettings: "Send Sync Unpin";
        runtime::What: "Send Sync Unpin";
        runtime::NoDescriptor: "Send Sync Unpin";
        runtime::Events: "Send Unpin";
        runtime::Key: "Send Sync Unpin";
        runtime::Lifecycle: "Send Sync Unpin";
        runtime::Ready: "Send Sync Unpin";
        runtime::Registered<std::os::fd::OwnedFd>: "Send Sync Unpin";
        runtime::Scratch: "Send Sync Unpin";
        runtime::SelectorKind: "Send Sync Unpin";
        runtime::Tick: "Send Sync Unpin";
        runtime::Time: "Send Sync Unpin";
        runtime::TimerId: "Send Sync Unpin";
        runtime::TimerKey: "Send Sync Unpin";
        runtime::Token: "Send Sync Unpin";
        runtime::Waiter: "Send Sync Unpin";
        runtime::Wheel<u8>: "Send Sync Unpin";
    }
}
