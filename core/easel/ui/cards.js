/* Models as cards (`easel.ui.cards`). The first of its tabs is what stands below this component; behind the others are
   the cards of a kind, one page of them, which 'act' asks the service for: {act, kind, words, page}. A card with
   data-act says the same with its title. */
easel.cards = (element, props, trigger, watch) => {
  const one = (selector) => element.querySelector(selector);
  const panel = one('[role=tabpanel]'), search = one('[type=search]'), cards = one('[data-cards]');
  let kind, page = 0;
  const ask = (act, title) => trigger('act', { act, kind, words: search.value, page, title });
  const open = (tab) => {
    if (tab.dataset.kind && tab.dataset.kind !== kind) {
      kind = tab.dataset.kind;
      page = 0;
      search.value = '';
      cards.replaceChildren();
      if (!panel.hidden) ask('show');
    }
    for (const each of element.querySelectorAll('[role=tab]')) each.setAttribute('aria-selected', String(each === tab));
    panel.hidden = !tab.dataset.kind;
  };
  element.addEventListener('click', (event) => {
    const button = event.target.closest('button');
    if (button?.matches('[role=tab]')) open(button);
    else if (button?.dataset.act) {
      page = Math.max(0, page + Number(button.dataset.by ?? 0));
      ask(button.dataset.act, button.dataset.title);
    }
  });
  search.addEventListener('input', () => {
    page = 0;
    ask('show');
  });
  watch('value', () => {
    cards.innerHTML = props.value;
    page = Number(one('[data-page]')?.dataset.page ?? 0);
  });
  new IntersectionObserver((entries) => {
    if (entries.at(-1).isIntersecting) ask('show'); // whenever it comes into view: there may be new models
  }).observe(panel);
};
