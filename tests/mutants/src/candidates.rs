//! Finds the mutations that a file offers: which expressions and statements, and how each is changed. Tests, constants,
//! macros, texts for people and the recounts of debug builds are left alone. Changes nothing itself.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use proc_macro2::{Span, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{
    Arm, Attribute, BinOp, Block, Expr, ImplItemFn, Item, ItemFn, ItemImpl, ItemMod, Lit, Macro,
    Pat, ReturnType, Signature, Stmt, TraitItemFn, Type, UnOp,
};

use crate::mutation::{Change, Folder, Id, Mutation};

/// The most characters of code that a description quotes.
const QUOTED: usize = 70;

/// Traits whose methods make texts for people.
const TEXTS: [&str; 3] = ["Display", "Debug", "Error"];

/// Functions that recount for debug builds, and those that name what serde expects.
const LEFT_ALONE: [&str; 2] = ["check_books", "expecting"];

/// Macros that write a line into the log.
const LOGS: [&str; 6] = ["trace", "debug", "info", "warn", "error", "log"];

/// Methods with a counterpart of the same type.
const COUNTERPARTS: [(&str, &str); 10] = [
    ("min", "max"),
    ("first", "last"),
    ("first_mut", "last_mut"),
    ("front", "back"),
    ("front_mut", "back_mut"),
    ("pop_front", "pop_back"),
    ("push_front", "push_back"),
    ("is_some", "is_none"),
    ("is_ok", "is_err"),
    ("any", "all"),
];

/// The names of integer constants that a file declares.
pub(crate) fn constants(file: &syn::File) -> BTreeSet<String> {
    struct Names(BTreeSet<String>);
    impl Visit<'_> for Names {
        fn visit_item_const(&mut self, item: &syn::ItemConst) {
            if is_integer(&item.ty) {
                self.0.insert(item.ident.to_string());
            }
        }

        fn visit_impl_item_const(&mut self, item: &syn::ImplItemConst) {
            if is_integer(&item.ty) {
                self.0.insert(item.ident.to_string());
            }
        }
    }
    let mut names = Names(BTreeSet::new());
    names.visit_file(file);
    names.0
}

fn is_integer(of: &Type) -> bool {
    const INTEGERS: [&str; 12] = [
        "u8", "u16", "u32", "u64", "u128", "usize", "i8", "i16", "i32", "i64", "i128", "isize",
    ];
    matches!(of, Type::Path(path) if INTEGERS.iter().any(|name| path.path.is_ident(name)))
}

/// All mutations of a file, in the order of its text.
pub(crate) fn candidates(
    folder: Folder,
    name: &str,
    text: &str,
    file: &syn::File,
    constants: &BTreeSet<String>,
) -> Vec<Mutation> {
    let mut collector = Collector {
        folder,
        file: name,
        text,
        constants,
        owners: Vec::new(),
        found: Vec::new(),
        times: BTreeMap::new(),
    };
    collector.visit_file(file);
    collector.found.sort_by_key(|it| it.span.start);
    collector.found
}

struct Collector<'a> {
    folder: Folder,
    file: &'a str,
    text: &'a str,
    constants: &'a BTreeSet<String>,
    /// The type and the functions around the current place.
    owners: Vec<String>,
    found: Vec<Mutation>,
    /// How often each change was found in each function.
    times: BTreeMap<String, usize>,
}

impl<'a> Collector<'a> {
    fn add(&mut self, at: Span, span: Range<usize>, what: String, change: Change) {
        let function = self.owners.join("::");
        let key = format!("{} {function} {what}", self.file);
        let times = self.times.entry(key.clone()).or_default();
        *times += 1;
        self.found.push(Mutation {
            id: Id::of(&format!("{key} {times}")),
            folder: self.folder,
            file: self.file.to_owned(),
            line: at.start().line,
            function,
            what,
            span,
            change,
        });
    }

    fn code(&self, of: &impl Spanned) -> &'a str {
        &self.text[of.span().byte_range()]
    }

    /// Another expression in place of `expr`. `shown` is the code of both for the description.
    fn replace(&mut self, expr: &impl Spanned, shown: [&str; 2], other: String) {
        let [from, to] = shown.map(quote);
        let what = format!("`{from}` becomes `{to}`");
        let span = expr.span();
        self.add(span, span.byte_range(), what, Change::Replace(other));
    }

    fn omit(&mut self, statement: &impl Spanned) {
        let what = format!("`{}` is left out", quote(self.code(statement)));
        let span = statement.span();
        self.add(span, span.byte_range(), what, Change::Omit);
    }

    fn negate(&mut self, condition: &Expr) {
        if !has_let(condition) && !has_opposite(condition) {
            let what = format!("the condition `{}` is negated", quote(self.code(condition)));
            let span = condition.span();
            self.add(span, span.byte_range(), what, Change::Negate);
        }
    }

    /// Everything within a function. Returns at once if it has no result and more than one statement.
    fn function(&mut self, signature: &Signature, body: &Block) {
        let name = signature.ident.to_string();
        if signature.constness.is_some() || LEFT_ALONE.contains(&&*name) {
            return;
        }
        self.owners.push(name);
        if matches!(signature.output, ReturnType::Default) {
            if body.stmts.len() > 1 {
                let start = body.brace_token.span.open().byte_range().end;
                self.add(
                    signature.span(),
                    start..start,
                    "the function returns at once".to_owned(),
                    Change::Return,
                );
            }
            self.unit_block(body);
        }
        self.visit_block(body);
        self.owners.pop();
    }

    /// A block whose value is `()`: its last expression is a statement, too.
    fn unit_block(&mut self, block: &Block) {
        if let Some(Stmt::Expr(last, None)) = block.stmts.last() {
            self.unit(last);
        }
    }

    /// An expression without a semicolon whose value is `()`.
    fn unit(&mut self, expr: &Expr) {
        match expr {
            Expr::If(it) => {
                self.unit_block(&it.then_branch);
                if let Some((_, otherwise)) = &it.else_branch {
                    self.unit(otherwise);
                }
            }
            Expr::Match(it) => it.arms.iter().for_each(|arm| self.unit(&arm.body)),
            Expr::Block(it) => self.unit_block(&it.block),
            _ if is_effect(expr) => self.omit(expr),
            _ => {}
        }
    }

    /// Match arms that a later arm for everything else can stand in for.
    fn arms(&mut self, arms: &[Arm]) {
        let Some((last, others)) = arms.split_last() else {
            return;
        };
        if !matches!(last.pat, Pat::Wild(_)) || last.guard.is_some() {
            return;
        }
        for arm in others {
            let what = format!("the arm `{}` is left out", quote(self.code(&arm.pat)));
            let (span, guarded) = match &arm.guard {
                Some((_, guard)) if has_let(guard) => continue,
                Some((_, guard)) => (guard.span().byte_range(), true),
                None => {
                    let end = arm.pat.span().byte_range().end;
                    (end..end, false)
                }
            };
            self.add(arm.pat.span(), span, what, Change::SkipArm { guarded });
        }
    }
}

impl Visit<'_> for Collector<'_> {
    fn visit_item(&mut self, item: &Item) {
        match item {
            Item::Fn(_) | Item::Impl(_) | Item::Mod(_) | Item::Trait(_) => {
                visit::visit_item(self, item);
            }
            // What the others hold is constant.
            _ => {}
        }
    }

    fn visit_item_mod(&mut self, item: &ItemMod) {
        if !is_conditional(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_impl(&mut self, item: &ItemImpl) {
        let of = item
            .trait_
            .as_ref()
            .and_then(|(_, path, _)| path.segments.last());
        if is_conditional(&item.attrs)
            || of.is_some_and(|it| TEXTS.iter().any(|name| it.ident == name))
        {
            return;
        }
        let name = match &*item.self_ty {
            Type::Path(path) => path.path.segments.last().map(|it| it.ident.to_string()),
            _ => None,
        };
        self.owners.push(name.unwrap_or_default());
        item.items.iter().for_each(|it| self.visit_impl_item(it));
        self.owners.pop();
    }

    fn visit_item_fn(&mut self, item: &ItemFn) {
        if !is_conditional(&item.attrs) {
            self.function(&item.sig, &item.block);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &ImplItemFn) {
        if !is_conditional(&item.attrs) {
            self.function(&item.sig, &item.block);
        }
    }

    fn visit_trait_item_fn(&mut self, item: &TraitItemFn) {
        if let Some(body) = item
            .default
            .as_ref()
            .filter(|_| !is_conditional(&item.attrs))
        {
            self.function(&item.sig, body);
        }
    }

    fn visit_impl_item_const(&mut self, _: &syn::ImplItemConst) {}
    fn visit_trait_item_const(&mut self, _: &syn::TraitItemConst) {}
    fn visit_expr_const(&mut self, _: &syn::ExprConst) {}
    fn visit_attribute(&mut self, _: &Attribute) {}
    fn visit_generic_argument(&mut self, _: &syn::GenericArgument) {}
    fn visit_macro(&mut self, _: &Macro) {}
    fn visit_pat(&mut self, _: &Pat) {}
    fn visit_type(&mut self, _: &Type) {}

    fn visit_block(&mut self, block: &Block) {
        for (place, statement) in block.stmts.iter().enumerate() {
            match statement {
                Stmt::Expr(expr, Some(_)) if is_effect(expr) => self.omit(statement),
                Stmt::Expr(expr, semicolon)
                    if semicolon.is_some() || place + 1 < block.stmts.len() =>
                {
                    self.unit(expr);
                }
                _ => {}
            }
        }
        visit::visit_block(self, block);
    }

    fn visit_stmt(&mut self, statement: &Stmt) {
        let attributes = match statement {
            Stmt::Local(it) => &*it.attrs,
            Stmt::Expr(Expr::Block(it), _) => &*it.attrs,
            Stmt::Expr(Expr::If(it), _) => &*it.attrs,
            _ => &[],
        };
        if !is_conditional(attributes) {
            visit::visit_stmt(self, statement);
        }
    }

    fn visit_expr_for_loop(&mut self, expr: &syn::ExprForLoop) {
        self.unit_block(&expr.body);
        visit::visit_expr_for_loop(self, expr);
    }

    fn visit_expr_while(&mut self, expr: &syn::ExprWhile) {
        self.unit_block(&expr.body);
        visit::visit_expr_while(self, expr);
    }

    fn visit_expr_loop(&mut self, expr: &syn::ExprLoop) {
        self.unit_block(&expr.body);
        visit::visit_expr_loop(self, expr);
    }

    fn visit_expr_if(&mut self, expr: &syn::ExprIf) {
        if expr.else_branch.is_none() && only_logs(&expr.then_branch) {
            return;
        }
        self.negate(&expr.cond);
        visit::visit_expr_if(self, expr);
    }

    fn visit_expr_match(&mut self, expr: &syn::ExprMatch) {
        self.arms(&expr.arms);
        visit::visit_expr_match(self, expr);
    }

    fn visit_arm(&mut self, arm: &Arm) {
        if let Some((_, guard)) = &arm.guard {
            self.negate(guard);
        }
        visit::visit_arm(self, arm);
    }

    fn visit_expr_repeat(&mut self, expr: &syn::ExprRepeat) {
        // Its length is a constant.
        self.visit_expr(&expr.expr);
    }

    fn visit_expr_binary(&mut self, expr: &syn::ExprBinary) {
        if !has_let(&expr.left)
            && !has_let(&expr.right)
            && let Some(other) = counterpart(&expr.op)
        {
            let (left, right) = (self.code(&expr.left), self.code(&expr.right));
            let changed = format!("{left} {other} {right}");
            let other = match expr.op {
                BinOp::AddAssign(_) | BinOp::SubAssign(_) => changed.clone(),
                _ => format!("({left}) {other} ({right})"),
            };
            self.replace(expr, [self.code(expr), &changed], other);
        }
        visit::visit_expr_binary(self, expr);
    }

    fn visit_expr_unary(&mut self, expr: &syn::ExprUnary) {
        if matches!(expr.op, UnOp::Not(_)) {
            let inner = self.code(&expr.expr);
            self.replace(expr, [&format!("!{inner}"), inner], inner.to_owned());
        }
        visit::visit_expr_unary(self, expr);
    }

    fn visit_expr_lit(&mut self, expr: &syn::ExprLit) {
        let code = self.code(expr);
        match &expr.lit {
            Lit::Bool(it) => {
                let other = (!it.value).to_string();
                self.replace(expr, [code, &other.clone()], other);
            }
            Lit::Int(it) => {
                let Ok(value) = it.base10_parse::<u128>() else {
                    return;
                };
                let around = [value.checked_add(1), value.checked_sub(1)];
                for value in around.into_iter().flatten() {
                    let other = format!("{value}{}", it.suffix());
                    self.replace(expr, [code, &other.clone()], other);
                }
            }
            _ => {}
        }
    }

    fn visit_expr_path(&mut self, expr: &syn::ExprPath) {
        let last = expr.path.segments.last();
        if last.is_some_and(|it| self.constants.contains(&it.ident.to_string())) {
            let code = self.code(expr);
            for other in [format!("{code} + 1"), format!("{code} - 1")] {
                self.replace(expr, [code, &other.clone()], other);
            }
        }
    }

    fn visit_expr_call(&mut self, expr: &syn::ExprCall) {
        if matches!(&*expr.func, Expr::Path(path) if path.path.is_ident("Some")) {
            self.replace(expr, [self.code(expr), "None"], "None".to_owned());
        }
        visit::visit_expr_call(self, expr);
    }

    fn visit_expr_method_call(&mut self, expr: &syn::ExprMethodCall) {
        let name = expr.method.to_string();
        let other = COUNTERPARTS.iter().find_map(|(one, other)| match () {
            () if name == *one => Some(*other),
            () if name == *other => Some(*one),
            () => None,
        });
        if let Some(other) = other {
            let (from, at) = (expr.span().byte_range(), expr.method.span().byte_range());
            let changed = [
                &self.text[from.start..at.start],
                other,
                &self.text[at.end..from.end],
            ];
            let changed = changed.concat();
            self.replace(expr, [self.code(expr), &changed.clone()], changed);
        }
        visit::visit_expr_method_call(self, expr);
    }
}

/// Code for a description: on one line, and not too long.
fn quote(code: &str) -> String {
    let words: Vec<&str> = code.split_whitespace().collect();
    let line = words.join(" ").replace('`', "'");
    match line.char_indices().nth(QUOTED) {
        // The beginning and the end say more than a longer beginning.
        Some((middle, _)) if line.chars().count() > 2 * QUOTED => {
            let tail = line
                .char_indices()
                .rev()
                .nth(QUOTED / 2)
                .map_or(0, |(at, _)| at);
            format!("{}…{}", &line[..middle], &line[tail..])
        }
        _ => line,
    }
}

/// Whether an item exists in some builds only: those of tests, or with debug assertions.
fn is_conditional(attributes: &[Attribute]) -> bool {
    fn names_a_build(tokens: proc_macro2::TokenStream) -> bool {
        tokens.into_iter().any(|token| match token {
            TokenTree::Ident(it) => it == "test" || it == "debug_assertions",
            TokenTree::Group(it) => names_a_build(it.stream()),
            _ => false,
        })
    }
    attributes.iter().any(|it| {
        it.path().is_ident("test")
            || it.path().is_ident("cfg")
                && it
                    .meta
                    .require_list()
                    .is_ok_and(|list| names_a_build(list.tokens.clone()))
    })
}

/// Whether a condition binds something: no switch can be put around it.
fn has_let(condition: &Expr) -> bool {
    match condition {
        Expr::Let(_) => true,
        Expr::Binary(it) => has_let(&it.left) || has_let(&it.right),
        _ => false,
    }
}

/// Whether a change of its operator makes the opposite of a condition already.
fn has_opposite(condition: &Expr) -> bool {
    match condition {
        Expr::Unary(it) => matches!(it.op, UnOp::Not(_)),
        Expr::Binary(it) => matches!(it.op, BinOp::Eq(_) | BinOp::Ne(_)),
        _ => false,
    }
}

/// Whether a statement is there for its effect: a call, or an assignment.
fn is_effect(expr: &Expr) -> bool {
    match expr {
        Expr::Call(_) | Expr::MethodCall(_) | Expr::Assign(_) => true,
        Expr::Try(it) => is_effect(&it.expr),
        Expr::Binary(it) => is_assignment(&it.op),
        _ => false,
    }
}

fn is_assignment(op: &BinOp) -> bool {
    matches!(
        op,
        BinOp::AddAssign(_)
            | BinOp::SubAssign(_)
            | BinOp::MulAssign(_)
            | BinOp::DivAssign(_)
            | BinOp::RemAssign(_)
            | BinOp::BitXorAssign(_)
            | BinOp::BitAndAssign(_)
            | BinOp::BitOrAssign(_)
            | BinOp::ShlAssign(_)
            | BinOp::ShrAssign(_)
    )
}

fn counterpart(op: &BinOp) -> Option<&'static str> {
    Some(match op {
        BinOp::Lt(_) => "<=",
        BinOp::Le(_) => "<",
        BinOp::Gt(_) => ">=",
        BinOp::Ge(_) => ">",
        BinOp::Eq(_) => "!=",
        BinOp::Ne(_) => "==",
        BinOp::Add(_) => "-",
        BinOp::Sub(_) => "+",
        BinOp::Mul(_) => "/",
        BinOp::Div(_) | BinOp::Rem(_) => "*",
        BinOp::And(_) => "||",
        BinOp::Or(_) => "&&",
        BinOp::BitAnd(_) => "|",
        BinOp::BitOr(_) | BinOp::BitXor(_) => "&",
        BinOp::Shl(_) => ">>",
        BinOp::Shr(_) => "<<",
        BinOp::AddAssign(_) => "-=",
        BinOp::SubAssign(_) => "+=",
        _ => return None,
    })
}

/// Whether a block writes into the log and does nothing else.
fn only_logs(block: &Block) -> bool {
    let is_log = |statement: &Stmt| match statement {
        Stmt::Macro(it) => is_log(&it.mac),
        Stmt::Expr(Expr::Macro(it), _) => is_log(&it.mac),
        _ => false,
    };
    block.stmts.iter().all(is_log)
}

fn is_log(of: &Macro) -> bool {
    let name = of.path.segments.last();
    name.is_some_and(|it| LOGS.iter().any(|log| it.ident == log))
}

#[cfg(test)]
mod tests;
